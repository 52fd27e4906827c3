"""For parts that take an engine and are not to need one."""

import sqlalchemy as sa


def no_database() -> sa.Engine:
    """An engine without any table: what asks it fails at once. No connection stays open."""
    return sa.create_engine("sqlite://", poolclass=sa.pool.NullPool)
