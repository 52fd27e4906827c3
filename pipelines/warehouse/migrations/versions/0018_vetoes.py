"""The newest veto of a bot is found without reading all its orders."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index(
        "orders_rejected",
        "orders",
        ["bot_id", "timestamp"],
        postgresql_where=sa.text("status = 'rejected'"),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_index("orders_rejected", table_name="orders")
