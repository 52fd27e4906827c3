"""Every table of schema `public`, once. Migrations build them; readers and writers import them.

Prices, sizes and money are NUMERIC(38, 18); times are timestamptz, UTC. `bot_id` is `bots.id`;
the name that people and URLs use is `bots.name`. Ids of signals, orders and trades are text made of
(bot name, candle close in ms, n), so that a retry after a crash writes the same row and never a second one.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()
MONEY = Numeric(38, 18)


def _time(name: str, **options: object) -> Column[object]:
    return Column(name, DateTime(timezone=True), **options)  # type: ignore[arg-type]


def _created() -> Column[object]:
    return _time("created_at", nullable=False, server_default=func.now())


instruments = Table(
    "instruments",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("base", Text, nullable=False),
    Column("quote", Text, nullable=False),
    Column("tick_size", MONEY, nullable=False),
    Column("lot_size", MONEY, nullable=False),
    Column("min_size", MONEY, nullable=False),
    Column("state", Text, nullable=False),
    _time("updated_at", nullable=False, server_default=func.now()),
)

market_data = Table(
    "market_data",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("timeframe", Text, primary_key=True),
    _time("timestamp", primary_key=True, comment="close time of the candle"),
    Column("open", MONEY, nullable=False),
    Column("high", MONEY, nullable=False),
    Column("low", MONEY, nullable=False),
    Column("close", MONEY, nullable=False),
    Column("volume", MONEY, nullable=False),
    Column("trades_count", Integer, nullable=False, server_default="0"),
    Column("source", Text, nullable=False, comment="trades, exchange or synthetic"),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("provisional", Boolean, nullable=False, server_default="false"),
    _created(),
)

raw_trades = Table(
    "raw_trades",
    metadata,
    Column("exchange", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("trade_id", BigInteger, nullable=False, comment="last id of the aggregation"),
    _time("timestamp", nullable=False),
    Column("price", MONEY, nullable=False),
    Column("size", MONEY, nullable=False),
    Column("side", Text, nullable=False, comment="the taker's"),
    Column("count", Integer, nullable=False, server_default="1", comment="matches aggregated"),
    Column("source", Text, nullable=False, comment="websocket, rest or bulk"),
    _time("received_at", nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("exchange", "symbol", "trade_id", "timestamp"),
    Index("raw_trades_timestamp_brin", "timestamp", postgresql_using="brin"),
    postgresql_partition_by="RANGE (timestamp)",
)

trade_marks = Table(
    "trade_marks",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    _time("timestamp", primary_key=True, comment="close time of the minute"),
    Column("trade_id", BigInteger, nullable=False, comment="the last of the minute"),
    _time("traded_at", nullable=False),
)

data_gaps = Table(
    "data_gaps",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("first_id", BigInteger, primary_key=True),
    Column("last_id", BigInteger, primary_key=True),
    Column("state", Text, nullable=False, comment="open, refilling, refilled or unfillable"),
    _time("detected_at", nullable=False),
    Column(
        "detected_by", Text, nullable=False, server_default="feed", comment="feed, start or reconciliation"
    ),
    _time("refilling_at", comment="the exchange was asked for the first time"),
    _time("closed_at"),
    Column("closed_by", Text, comment="refill, start or reconciliation"),
    Column("note", Text, comment="why it is closed"),
    CheckConstraint("state IN ('open', 'refilling', 'refilled', 'unfillable')", name="data_gaps_state"),
)

candle_differences = Table(
    "candle_differences",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("timeframe", Text, primary_key=True),
    _time("timestamp", primary_key=True, comment="close time of the candle"),
    Column(
        "explanation",
        Text,
        nullable=False,
        comment="missing_trades, known_gap, missing_candle, stale, exchange_revision, exchange_row, "
        "unexplained",
    ),
    Column("detail", Text, comment="a sentence for people: which side has more, which ids were missing"),
    *(
        Column(f"{side}_{name}", MONEY, comment="null: that side had no such candle")
        for side in ("our", "their")
        for name in ("open", "high", "low", "close", "volume")
    ),
    _time("detected_at", nullable=False, comment="exchange time"),
    _time("resolved_at", comment="exchange time at which it was settled; null while it is not"),
    Column("resolution", Text, comment="completed, taken_over, ours_stands or equal_again"),
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("kind", Text, primary_key=True, comment="recent, daily, weekly or longer"),
    _time("through", nullable=False, comment="close time of the newest candle compared"),
    Column("compared", BigInteger, nullable=False, comment="candles compared so far"),
    Column("differing", BigInteger, nullable=False, comment="of which differed"),
)

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
    Column("virtual_balance", MONEY, nullable=False, comment="starting cash, quote currency"),
    Column("current_balance", MONEY, nullable=False, comment="total value, quote currency"),
    _time("last_heartbeat"),
    Column("pid", Integer),
    Column("restarts", Integer, nullable=False, server_default="0"),
    Column("last_error", Text),
    _created(),
    _time("updated_at", nullable=False, server_default=func.now()),
)

bot_crashes = Table(
    "bot_crashes",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("bot_id", ForeignKey("bots.id"), nullable=False, index=True),
    _time("timestamp", nullable=False),
    Column("exit_code", Integer),
    Column("reason", Text, nullable=False),
    Column("stack_trace", Text),
)

signals = Table(
    "signals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("bot_id", ForeignKey("bots.id"), nullable=False),
    _time("timestamp", nullable=False, comment="close of the candle that was judged"),
    Column("signal_type", Text, nullable=False, comment="buy, sell or hold"),
    Column("price", MONEY, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("indicators", JSONB, nullable=False),
    Column("latency_ms", Double, comment="candle published to signal committed"),
    _created(),
    UniqueConstraint("bot_id", "timestamp"),
    Index("signals_decisions", "bot_id", "timestamp", postgresql_where=text("signal_type <> 'hold'")),
)

orders = Table(
    "orders",
    metadata,
    Column("id", Text, primary_key=True),
    Column("bot_id", ForeignKey("bots.id"), nullable=False),
    Column("signal_id", ForeignKey("signals.id")),
    _time("timestamp", nullable=False, comment="decision time"),
    Column("side", Text, nullable=False),
    Column("order_type", Text, nullable=False),
    Column("price", MONEY),
    Column("quantity", MONEY, nullable=False),
    Column("filled_quantity", MONEY, nullable=False, server_default="0"),
    Column("status", Text, nullable=False, comment="open, filled, cancelled or rejected"),
    Column("reason", Text, comment="why it was rejected or cancelled"),
    _created(),
    _time("updated_at", nullable=False, server_default=func.now()),
    Index("orders_bot_timestamp", "bot_id", "timestamp"),
    Index("orders_signal", "signal_id"),
)

trades = Table(
    "trades",
    metadata,
    Column("id", Text, primary_key=True),
    Column("bot_id", ForeignKey("bots.id"), nullable=False),
    Column("signal_id", ForeignKey("signals.id")),
    Column("order_id", ForeignKey("orders.id")),
    _time("timestamp", nullable=False, comment="time of the fill"),
    Column("side", Text, nullable=False),
    Column("price", MONEY, nullable=False),
    Column("quantity", MONEY, nullable=False, comment="base currency, before the fee"),
    Column("fees", MONEY, nullable=False, comment="in quote currency, at the fill price"),
    Column("pnl", MONEY, comment="realised by this fill, quote currency, all fees deducted; null for a buy"),
    Column("balance_after", MONEY, nullable=False, comment="cash after the fill, quote currency"),
    _created(),
    Index("trades_bot_timestamp", "bot_id", "timestamp"),
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
    _time("last_candle", comment="close of the last candle that was judged"),
    _time("updated_at", nullable=False, server_default=func.now()),
)

bot_performance = Table(
    "bot_performance",
    metadata,
    Column("bot_id", ForeignKey("bots.id"), primary_key=True),
    _time("timestamp", primary_key=True),
    Column("total_value", MONEY, nullable=False),
    Column("cash_balance", MONEY, nullable=False),
    Column("crypto_balance", MONEY, nullable=False, comment="value of the coins held, quote currency"),
    Column("total_trades", Integer, nullable=False, comment="closed round trips"),
    Column("winning_trades", Integer, nullable=False),
    Column("total_fees", MONEY, nullable=False),
    Index("bot_performance_value", "bot_id", "total_value"),
)

strategy_runs = Table(
    "strategy_runs",
    metadata,
    Column("id", Text, primary_key=True, comment="the test_id of URLs"),
    Column("kind", Text, nullable=False, comment="backtest, sweep or walk_forward"),
    Column("strategy_name", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("parameters", JSONB, nullable=False, comment="parameters of a backtest; the grid of a sweep"),
    _time("start_time"),
    _time("end_time"),
    Column("status", Text, nullable=False, comment="running, done or failed"),
    Column("candles", BigInteger),
    Column("initial_cash", MONEY),
    Column("final_value", Double),
    Column("fee", Double),
    Column("slippage", Double),
    Column("metrics", JSONB),
    Column("validation", JSONB, comment="how far a backtest or a walk-forward can be believed"),
    Column("error", Text),
    _created(),
    _time("finished_at"),
    Index("strategy_runs_created", "created_at"),
)

strategy_signals = Table(
    "strategy_signals",
    metadata,
    Column("run_id", ForeignKey("strategy_runs.id", ondelete="CASCADE"), primary_key=True),
    _time("timestamp", primary_key=True),
    Column("signal_type", Text, nullable=False),
    Column("price", Double, nullable=False),
)

backtest_trades = Table(
    "backtest_trades",
    metadata,
    Column("run_id", ForeignKey("strategy_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True),
    _time("entry_time", nullable=False),
    Column("entry_price", Double, nullable=False),
    _time("exit_time"),
    Column("exit_price", Double),
    Column("quantity", Double, nullable=False),
    Column("fees", Double, nullable=False),
    Column("pnl", Double),
    Column("exit_reason", Text),
)

backtest_equity = Table(
    "backtest_equity",
    metadata,
    Column("run_id", ForeignKey("strategy_runs.id", ondelete="CASCADE"), primary_key=True),
    _time("timestamp", primary_key=True),
    Column("equity", Double, nullable=False),
    Column("close", Double, comment="the market's, at the same time"),
)

sweep_results = Table(
    "sweep_results",
    metadata,
    Column("sweep_id", ForeignKey("strategy_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("symbol", Text, nullable=False),
    Column("timeframe", Text, nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("metrics", JSONB, nullable=False),
)

walk_forward_windows = Table(
    "walk_forward_windows",
    metadata,
    Column("run_id", ForeignKey("strategy_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("n", Integer, primary_key=True),
    _time("train_start", nullable=False, comment="open of the first candle trained on"),
    _time("train_end", nullable=False, comment="close of the last"),
    _time("test_start", nullable=False),
    _time("test_end", nullable=False),
    Column("parameters", JSONB, nullable=False, comment="the best of the training"),
    Column("train_metrics", JSONB, nullable=False),
    Column("test_metrics", JSONB, nullable=False),
    Column("test_rank", Double, comment="share of all combinations that did worse in the test"),
)

lake_files = Table(
    "lake_files",
    metadata,
    Column("path", Text, primary_key=True, comment="relative to the lake's root"),
    Column("dataset", Text, nullable=False, comment="raw_trades or candles"),
    Column("exchange", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("date", Date, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    _time("min_timestamp", nullable=False),
    _time("max_timestamp", nullable=False),
    Column("min_trade_id", BigInteger),
    Column("max_trade_id", BigInteger),
    Column("sha256", Text, nullable=False),
    _created(),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("component", Text, primary_key=True),
    _time("timestamp", nullable=False, comment="wall clock of the process"),
    _time("exchange_time", comment="the exchange's clock at that moment"),
    Column("details", JSONB, nullable=False),
)

connection_quality = Table(
    "connection_quality",
    metadata,
    _time("minute", primary_key=True, comment="its begin, wall clock of the daemon"),
    Column("connection", Text, primary_key=True, comment="trades 1, trades 2 …"),
    Column("url", Text, nullable=False, comment="where it was connected to at the minute's end"),
    Column("latency_p50_ms", Double, comment="from the exchange's time of a trade to its arrival"),
    Column("latency_p99_ms", Double),
    Column("messages", BigInteger, nullable=False),
    Column("trades", BigInteger, nullable=False),
    Column("repeated", BigInteger, nullable=False, comment="trades it had brought before"),
    Column("lost_ids", BigInteger, nullable=False, comment="trade ids it did not bring"),
    Column("unknown_frames", BigInteger, nullable=False),
    Column("reconnects", Integer, nullable=False),
    Column("silences", Integer, nullable=False),
    Column("clock_offset_ms", BigInteger, comment="the exchange's clock minus this machine's"),
)

system_events = Table(
    "system_events",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    _time("timestamp", nullable=False, server_default=func.now()),
    Column("level", Text, nullable=False, comment="info, warning or error"),
    Column("component", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default="{}"),
    Index("system_events_timestamp", "timestamp"),
)

controls = Table(
    "controls",
    metadata,
    Column("name", Text, primary_key=True, comment="kill_switch"),
    Column("value", JSONB, nullable=False),
    _time("updated_at", nullable=False, server_default=func.now()),
)
