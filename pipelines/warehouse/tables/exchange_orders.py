"""Orders at a real exchange: how far each got, its matches, and what the account there holds."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)

from pipelines.warehouse.tables.columns import MONEY, created, metadata, moment

exchange_orders = Table(
    "exchange_orders",
    metadata,
    Column("order_id", ForeignKey("orders.id"), primary_key=True),
    Column("bot_id", ForeignKey("bots.id"), nullable=False),
    Column("broker", Text, nullable=False, comment="okx-demo or okx"),
    Column("client_id", Text, nullable=False, comment="what the exchange knows it by"),
    Column("symbol", Text, nullable=False),
    Column("side", Text, nullable=False),
    Column("kind", Text, nullable=False, comment="market, limit, stop, take_profit, oco or trailing_stop"),
    Column("quantity", MONEY, nullable=False, comment="base currency"),
    Column("limit_price", MONEY),
    Column("stop_price", MONEY),
    Column("profit_price", MONEY),
    Column("trail", MONEY, comment="of a trailing stop: distance from the highest price, a fraction"),
    Column(
        "state", Text, nullable=False, comment="submitting, sending, working, filled, cancelled or rejected"
    ),
    Column("exchange_id", Text, comment="the exchange's number"),
    Column("child_id", Text, comment="of the order that an algo order placed"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="requests sent"),
    Column(
        "deadline_ms", BigInteger, comment="exchange time from which it refuses the last request, epoch ms"
    ),
    Column("filled_quantity", MONEY, nullable=False, server_default="0"),
    Column("cancel_reason", Text, comment="why it is to be withdrawn; null: it is not"),
    created(),
    moment("updated_at", nullable=False, server_default=func.now()),
    UniqueConstraint("broker", "client_id"),
    Index(
        "exchange_orders_live",
        "broker",
        "bot_id",
        postgresql_where=text("state IN ('submitting', 'sending', 'working')"),
    ),
    Index("exchange_orders_bot", "bot_id"),
)

exchange_fills = Table(
    "exchange_fills",
    metadata,
    Column("broker", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("trade_id", Text, primary_key=True, comment="the exchange's number"),
    Column("order_id", ForeignKey("exchange_orders.order_id"), nullable=False, index=True),
    moment("timestamp", nullable=False),
    Column("side", Text, nullable=False),
    Column("price", MONEY, nullable=False),
    Column("quantity", MONEY, nullable=False),
    Column("fee", MONEY, nullable=False, comment="taken; below zero for a rebate"),
    Column("fee_currency", Text, nullable=False),
    Column("base_change", MONEY, nullable=False),
    Column("quote_change", MONEY, nullable=False),
    created(),
)

exchange_balances = Table(
    "exchange_balances",
    metadata,
    Column("broker", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("held", MONEY, nullable=False, comment="by the exchange's account"),
    Column("traded", MONEY, nullable=False, comment="changes by all our matches"),
    Column("others", MONEY, nullable=False, comment="held less traded, when first seen"),
    moment("checked_at", nullable=False, server_default=func.now()),
)
