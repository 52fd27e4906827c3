"""The platform itself: files of the lake, heartbeats, connections, events and switches."""

from sqlalchemy import BigInteger, Boolean, Column, Date, Double, Identity, Index, Integer, Table, Text, func
from sqlalchemy.dialects.postgresql import JSONB

from pipelines.warehouse.tables.columns import created, metadata, moment

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
    moment("min_timestamp", nullable=False),
    moment("max_timestamp", nullable=False),
    Column("min_trade_id", BigInteger),
    Column("max_trade_id", BigInteger),
    Column("sha256", Text, nullable=False),
    Column(
        "whole",
        Boolean,
        nullable=False,
        server_default="false",
        comment="the exchange's own record of the day is in it",
    ),
    created(),
)

model_builds = Table(
    "model_builds",
    metadata,
    Column("relation", Text, primary_key=True, comment="schema.table"),
    Column("fingerprint", Text, nullable=False, comment="hash of all that its rows are made by"),
    moment("noted_at", nullable=False, server_default=func.now()),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("component", Text, primary_key=True),
    moment("timestamp", nullable=False, comment="wall clock of the process"),
    moment("exchange_time", comment="the exchange's clock at that moment"),
    Column("details", JSONB, nullable=False),
)

connection_quality = Table(
    "connection_quality",
    metadata,
    moment("minute", primary_key=True, comment="its begin, wall clock of the daemon"),
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
    moment("timestamp", nullable=False, server_default=func.now()),
    Column("level", Text, nullable=False, comment="info, warning or error"),
    Column("component", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("details", JSONB, nullable=False, server_default="{}"),
    Index("system_events_timestamp", "timestamp"),
    Index("system_events_level", "level", "id"),
)

controls = Table(
    "controls",
    metadata,
    Column("name", Text, primary_key=True, comment="kill_switch"),
    Column("value", JSONB, nullable=False),
    moment("updated_at", nullable=False, server_default=func.now()),
)
