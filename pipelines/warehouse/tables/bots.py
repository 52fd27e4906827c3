"""Bots, what they decided, ordered, filled and are worth."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from pipelines.warehouse.tables.columns import MONEY, created, metadata, moment

bots = Table(
    "bots",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True, comment="bot_id of its config file"),
    Column("strategy_name", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column(
        "status",
        Text,
        nullable=False,
        comment="desired: active, paused, stopped; error after too many crashes",
    ),
    Column(
        "state",
        Text,
        nullable=False,
        server_default="stopped",
        comment="actual: starting, running, paused, stopped, crashed, error",
    ),
    Column("config_file", Text),
    Column("config", JSONB, nullable=False),
    Column("config_version", Integer, nullable=False, server_default="1"),
    Column(
        "variant",
        JSONB(none_as_null=True),
        comment="all parameters, risk and execution, as a backtest of it is kept; "
        "null: none can do it, or not known",
    ),
    Column("virtual_balance", MONEY, nullable=False, comment="starting cash, quote currency"),
    Column("current_balance", MONEY, nullable=False, comment="total value, quote currency"),
    moment("last_heartbeat"),
    Column("pid", Integer),
    Column("restarts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    created(),
    moment("updated_at", nullable=False, server_default=func.now()),
    moment("deleted_at", comment="set: the bot is gone from lists, its history stays"),
)

bot_configs = Table(
    "bot_configs",
    metadata,
    Column("bot_id", ForeignKey("bots.id"), primary_key=True),
    Column("version", Integer, primary_key=True),
    created(),
    Column("origin", Text, nullable=False, comment="file, cli or api"),
    Column("document", JSONB, nullable=False, comment="complete: strategy inline, defaults filled in"),
    moment("applied_at", comment="when a process of the bot first took it over; null: not yet"),
    moment("after_candle", comment="last candle judged before that; null: none"),
)

bot_readings = Table(
    "bot_readings",
    metadata,
    Column("bot_id", ForeignKey("bots.id"), primary_key=True),
    Column("home", Text, primary_key=True, comment="whose file: TCP_HOME/identity"),
    Column("document", JSONB, nullable=False, comment="what it said, strategy inline"),
    moment("read_at", nullable=False, server_default=func.now()),
)

bot_crashes = Table(
    "bot_crashes",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("bot_id", ForeignKey("bots.id"), nullable=False, index=True),
    moment("timestamp", nullable=False),
    Column("exit_code", Integer),
    Column("reason", Text, nullable=False),
    Column("stack_trace", Text),
)

bot_starts = Table(
    "bot_starts",
    metadata,
    Column("bot_id", ForeignKey("bots.id"), primary_key=True),
    moment("timestamp", primary_key=True, comment="the candle it began at, from which no order followed"),
    moment("after_candle", comment="the last one judged before, what lies between was slept through"),
)

signals = Table(
    "signals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("bot_id", ForeignKey("bots.id"), nullable=False),
    moment("timestamp", nullable=False, comment="close of the candle that was judged"),
    Column("signal_type", Text, nullable=False, comment="buy, sell or hold"),
    Column("price", MONEY, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("indicators", JSONB, nullable=False),
    Column("latency_ms", Double, comment="candle published to signal committed"),
    created(),
    UniqueConstraint("bot_id", "timestamp"),
    Index("signals_decisions", "bot_id", "timestamp", postgresql_where=text("signal_type <> 'hold'")),
)

orders = Table(
    "orders",
    metadata,
    Column("id", Text, primary_key=True),
    Column("bot_id", ForeignKey("bots.id"), nullable=False),
    Column("signal_id", ForeignKey("signals.id")),
    moment("timestamp", nullable=False, comment="decision time"),
    Column("side", Text, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("price", MONEY),
    Column("quantity", MONEY, nullable=False),
    Column("filled_quantity", MONEY, nullable=False, server_default="0"),
    Column(
        "status",
        Text,
        nullable=False,
        comment="open, partially_filled, filled, cancelled, expired or rejected",
    ),
    Column(
        "reason", Text, comment="why it was rejected or cancelled, or what a sale without a signal follows"
    ),
    Column("trigger_price", MONEY, comment="of a limit its price; what sets it off"),
    Column("limit_price", MONEY, comment="of a stop_limit, once it is set off"),
    moment("expires_at", comment="null: never"),
    Column("oco", Text, comment="orders with the same name cancel each other"),
    Column("state", JSONB(none_as_null=True), comment="all of it while it can still be filled"),
    created(),
    moment("updated_at", nullable=False, server_default=func.now()),
    Index("orders_bot_timestamp", "bot_id", "timestamp"),
    Index("orders_signal", "signal_id"),
    Index("orders_rejected", "bot_id", "timestamp", postgresql_where=text("status = 'rejected'")),
    Index("orders_working", "bot_id", postgresql_where=text("status IN ('open', 'partially_filled')")),
)

trades = Table(
    "trades",
    metadata,
    Column("id", Text, primary_key=True),
    Column("bot_id", ForeignKey("bots.id"), nullable=False),
    Column("signal_id", ForeignKey("signals.id")),
    Column("order_id", ForeignKey("orders.id")),
    moment("timestamp", nullable=False, comment="time of the fill"),
    Column("side", Text, nullable=False),
    Column("price", MONEY, nullable=False),
    Column("quantity", MONEY, nullable=False, comment="base currency, before the fee"),
    Column("fees", MONEY, nullable=False, comment="in quote currency, at the fill price"),
    Column("pnl", MONEY, comment="realised by this fill, quote currency, all fees deducted; null for a buy"),
    Column("balance_after", MONEY, nullable=False, comment="cash after the fill, quote currency"),
    Column(
        "recovered",
        Boolean,
        nullable=False,
        server_default="false",
        comment="found by replaying what was missed while the bot was down",
    ),
    Column("book", JSONB, comment="the level of the order book that filled it; null: trades did"),
    created(),
    Index("trades_bot_timestamp", "bot_id", "timestamp", postgresql_include=["side", "pnl", "fees"]),
    Index("trades_signal", "signal_id"),
    Index("trades_order", "order_id"),
)

positions = Table(
    "positions",
    metadata,
    Column("bot_id", ForeignKey("bots.id"), primary_key=True),
    Column("symbol", Text, nullable=False),
    Column("cash", MONEY, nullable=False),
    Column("quantity", MONEY, nullable=False, comment="base currency held"),
    Column("cost", MONEY, nullable=False, comment="quote currency paid for what is held, fees included"),
    Column("realised_pnl", MONEY, nullable=False),
    Column("fees", MONEY, nullable=False),
    Column("total_trades", Integer, nullable=False, server_default="0"),
    Column("winning_trades", Integer, nullable=False, server_default="0"),
    moment("last_candle", comment="close of the last candle that was judged"),
    Column("matching", JSONB, comment="what waiting orders need to know of past prices"),
    Column("risk", JSONB, comment="what the risk limits are measured against; null before the first candle"),
    Column(
        "revision",
        Integer,
        nullable=False,
        server_default="0",
        comment="changes of the account that its process did not make: a reset of the risk gate, a sale",
    ),
    Column("fills", BigInteger, nullable=False, server_default="0", comment="rows of trades, by trigger"),
    moment("updated_at", nullable=False, server_default=func.now()),
)

bot_performance = Table(
    "bot_performance",
    metadata,
    Column("bot_id", ForeignKey("bots.id"), primary_key=True),
    moment("timestamp", primary_key=True),
    Column("total_value", MONEY, nullable=False),
    Column("cash_balance", MONEY, nullable=False),
    Column("crypto_balance", MONEY, nullable=False, comment="value of the coins held, quote currency"),
    Column("total_trades", Integer, nullable=False, comment="closed round trips"),
    Column("winning_trades", Integer, nullable=False),
    Column("total_fees", MONEY, nullable=False),
    Index("bot_performance_value", "bot_id", "total_value"),
)
