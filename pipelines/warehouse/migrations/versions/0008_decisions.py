"""The buys and sells of a bot without going through its holds, of which there are hundreds between two."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index(
        "signals_decisions",
        "signals",
        ["bot_id", "timestamp"],
        postgresql_where=sa.text("signal_type <> 'hold'"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("signals_decisions", table_name="signals")
