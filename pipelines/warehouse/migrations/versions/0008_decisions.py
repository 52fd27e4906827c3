"""Buys and sells without going through the holds between them; what a signal led to, without a scan each."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the indexes. Without the last three each signal that is removed costs a scan of three tables."""
    op.create_index(
        "signals_decisions",
        "signals",
        ["bot_id", "timestamp"],
        postgresql_where=sa.text("signal_type <> 'hold'"),
    )
    op.create_index("orders_signal", "orders", ["signal_id"])
    op.create_index("trades_signal", "trades", ["signal_id"])
    op.create_index("trades_order", "trades", ["order_id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("trades_order", table_name="trades")
    op.drop_index("trades_signal", table_name="trades")
    op.drop_index("orders_signal", table_name="orders")
    op.drop_index("signals_decisions", table_name="signals")
