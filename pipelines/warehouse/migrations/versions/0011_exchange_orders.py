"""Orders at a real exchange, their matches, and what the account there holds."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_MONEY = sa.Numeric(38, 18)
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the three tables."""
    _orders()
    op.create_table(
        "exchange_fills",
        sa.Column("broker", sa.Text(), primary_key=True),
        sa.Column("symbol", sa.Text(), primary_key=True),
        sa.Column("trade_id", sa.Text(), primary_key=True, comment="the exchange's number"),
        sa.Column("order_id", sa.Text(), sa.ForeignKey("exchange_orders.order_id"), nullable=False),
        sa.Column("timestamp", _TIME, nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("price", _MONEY, nullable=False),
        sa.Column("quantity", _MONEY, nullable=False),
        sa.Column("fee", _MONEY, nullable=False, comment="taken; below zero for a rebate"),
        sa.Column("fee_currency", sa.Text(), nullable=False),
        sa.Column("base_change", _MONEY, nullable=False),
        sa.Column("quote_change", _MONEY, nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
    )
    op.create_index("ix_exchange_fills_order_id", "exchange_fills", ["order_id"])
    op.create_table(
        "exchange_balances",
        sa.Column("broker", sa.Text(), primary_key=True),
        sa.Column("currency", sa.Text(), primary_key=True),
        sa.Column("held", _MONEY, nullable=False, comment="by the exchange's account"),
        sa.Column("traded", _MONEY, nullable=False, comment="changes by all our matches"),
        sa.Column("others", _MONEY, nullable=False, comment="held less traded, when first seen"),
        sa.Column("checked_at", _TIME, nullable=False, server_default=sa.func.now()),
    )


def _orders() -> None:
    op.create_table(
        "exchange_orders",
        sa.Column("order_id", sa.Text(), sa.ForeignKey("orders.id"), primary_key=True),
        sa.Column("bot_id", sa.Integer(), sa.ForeignKey("bots.id"), nullable=False),
        sa.Column("broker", sa.Text(), nullable=False, comment="okx-demo or okx"),
        sa.Column("client_id", sa.Text(), nullable=False, comment="what the exchange knows it by"),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="market, limit, stop, take_profit or oco"),
        sa.Column("quantity", _MONEY, nullable=False, comment="base currency"),
        sa.Column("limit_price", _MONEY),
        sa.Column("stop_price", _MONEY),
        sa.Column("profit_price", _MONEY),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="submitting, sending, working, filled, cancelled or rejected",
        ),
        sa.Column("exchange_id", sa.Text(), comment="the exchange's number"),
        sa.Column("child_id", sa.Text(), comment="of the order that an algo order placed"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0", comment="requests sent"),
        sa.Column(
            "deadline_ms",
            sa.BigInteger(),
            comment="exchange time from which it refuses the last request, epoch ms",
        ),
        sa.Column("filled_quantity", _MONEY, nullable=False, server_default="0"),
        sa.Column("cancel_reason", sa.Text(), comment="why it is to be withdrawn; null: it is not"),
        sa.Column("created_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.Column("updated_at", _TIME, nullable=False, server_default=sa.func.now()),
        sa.UniqueConstraint("broker", "client_id"),
    )
    op.create_index(
        "exchange_orders_live",
        "exchange_orders",
        ["broker", "bot_id"],
        postgresql_where=sa.text("state IN ('submitting', 'sending', 'working')"),
    )
    op.create_index("exchange_orders_bot", "exchange_orders", ["bot_id"])


def downgrade() -> None:
    """Drop them."""
    for name in ("exchange_balances", "exchange_fills", "exchange_orders"):
        op.drop_table(name)
