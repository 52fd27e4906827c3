"""The highest value a bot ever had, without reading all its snapshots at each start."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    op.create_index("bot_performance_value", "bot_performance", ["bot_id", "total_value"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("bot_performance_value", table_name="bot_performance")
