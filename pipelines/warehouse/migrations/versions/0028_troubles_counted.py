"""Holes that are not filled are counted by their state, and the newest of each found, in the index alone."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

NAME, TABLE = "data_gaps_states", "data_gaps"


def upgrade() -> None:
    """Add the index."""
    columns = ["exchange", "state", "detected_at"]
    op.create_index(NAME, TABLE, columns, postgresql_where=sa.text("state <> 'refilled'"))


def downgrade() -> None:
    """Drop it."""
    op.drop_index(NAME, TABLE)
