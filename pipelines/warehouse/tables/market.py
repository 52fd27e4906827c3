"""What the exchange said: instruments, candles, trades, and what is known of their completeness."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    func,
    text,
)

from pipelines.warehouse.tables.columns import MONEY, created, metadata, moment

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
    moment("updated_at", nullable=False, server_default=func.now()),
)

market_data = Table(
    "market_data",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("timeframe", Text, primary_key=True),
    moment("timestamp", primary_key=True, comment="close time of the candle"),
    Column("open", MONEY, nullable=False),
    Column("high", MONEY, nullable=False),
    Column("low", MONEY, nullable=False),
    Column("close", MONEY, nullable=False),
    Column("volume", MONEY, nullable=False),
    Column("trades_count", Integer, nullable=False, server_default="0"),
    Column("source", Text, nullable=False, comment="trades, exchange or synthetic"),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("provisional", Boolean, nullable=False, server_default="false"),
    created(),
    moment("changed_at", comment="when it was written again; null: never"),
    Index("market_data_created_brin", "created_at", postgresql_using="brin"),
    Index("market_data_changed_brin", "changed_at", postgresql_using="brin"),
)

raw_trades = Table(
    "raw_trades",
    metadata,
    Column("exchange", Text, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("trade_id", BigInteger, nullable=False, comment="last id of the aggregation"),
    moment("timestamp", nullable=False),
    Column("price", MONEY, nullable=False),
    Column("size", MONEY, nullable=False),
    Column("side", Text, nullable=False, comment="the taker's"),
    Column("count", Integer, nullable=False, server_default="1", comment="matches aggregated"),
    Column("source", Text, nullable=False, comment="websocket, rest or bulk"),
    moment("received_at", nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("exchange", "symbol", "trade_id", "timestamp"),
    Index("raw_trades_timestamp_brin", "timestamp", postgresql_using="brin"),
    postgresql_partition_by="RANGE (timestamp)",
)

trade_marks = Table(
    "trade_marks",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    moment("timestamp", primary_key=True, comment="close time of the minute"),
    Column("trade_id", BigInteger, nullable=False, comment="the last of the minute"),
    moment("traded_at", nullable=False),
)

data_gaps = Table(
    "data_gaps",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("first_id", BigInteger, primary_key=True),
    Column("last_id", BigInteger, primary_key=True),
    Column("state", Text, nullable=False, comment="open, refilling, refilled or unfillable"),
    moment("detected_at", nullable=False),
    Column(
        "detected_by", Text, nullable=False, server_default="feed", comment="feed, start or reconciliation"
    ),
    moment("refilling_at", comment="the exchange was asked for the first time"),
    moment("closed_at"),
    Column("closed_by", Text, comment="refill, start or reconciliation"),
    Column("note", Text, comment="why it is closed"),
    CheckConstraint("state IN ('open', 'refilling', 'refilled', 'unfillable')", name="data_gaps_state"),
    Index("data_gaps_unfilled", "exchange", "symbol", postgresql_where=text("state <> 'refilled'")),
    Index(
        "data_gaps_states",
        "exchange",
        "state",
        "detected_at",
        postgresql_where=text("state <> 'refilled'"),
    ),
    Index("data_gaps_detected", "detected_at", "symbol", "first_id"),
)

candle_differences = Table(
    "candle_differences",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("timeframe", Text, primary_key=True),
    moment("timestamp", primary_key=True, comment="close time of the candle"),
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
    moment("detected_at", nullable=False, comment="exchange time"),
    moment("resolved_at", comment="exchange time at which it was settled; null while it is not"),
    Column("resolution", Text, comment="completed, taken_over, ours_stands or equal_again"),
    Index("candle_differences_timestamp", "exchange", "timestamp", "symbol", "timeframe"),
    Index("candle_differences_open", "exchange", "symbol", postgresql_where=text("resolved_at IS NULL")),
    Index("candle_differences_detected", "detected_at"),
)

reconciliations = Table(
    "reconciliations",
    metadata,
    Column("exchange", Text, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("kind", Text, primary_key=True, comment="recent, daily, weekly or longer"),
    moment("through", nullable=False, comment="close time of the newest candle compared"),
    Column("compared", BigInteger, nullable=False, comment="candles compared so far"),
    Column("differing", BigInteger, nullable=False, comment="of which differed"),
)
