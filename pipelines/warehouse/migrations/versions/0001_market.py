"""Market data, the data lake's files, health and controls, as first released."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "controls",
    "data_gaps",
    "heartbeats",
    "instruments",
    "lake_files",
    "market_data",
    "raw_trades",
    "system_events",
)


def upgrade() -> None:
    """Create the tables."""
    _create_controls()
    _create_data_gaps()
    _create_heartbeats()
    _create_instruments()
    _create_lake_files()
    _create_market_data()
    _create_raw_trades()
    _create_system_events()


def downgrade() -> None:
    """Drop them, with what is in them."""
    for name in reversed(TABLES):
        op.drop_table(name)


def _create_controls() -> None:
    op.create_table(
        "controls",
        sa.Column("name", sa.Text(), nullable=False, comment="kill_switch"),
        sa.Column("value", postgresql.JSONB(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )


def _create_data_gaps() -> None:
    op.create_table(
        "data_gaps",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("first_id", sa.BigInteger(), nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="open, filled or unfillable"),
        sa.Column("detected_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("exchange", "symbol", "first_id", "last_id"),
    )


def _create_heartbeats() -> None:
    op.create_table(
        "heartbeats",
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column(
            "timestamp", sa.DateTime(timezone=True), nullable=False, comment="wall clock of the process"
        ),
        sa.Column(
            "exchange_time",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="the exchange's clock at that moment",
        ),
        sa.Column("details", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("component"),
    )


def _create_instruments() -> None:
    op.create_table(
        "instruments",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("tick_size", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("lot_size", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("min_size", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("exchange", "symbol"),
    )


def _create_lake_files() -> None:
    op.create_table(
        "lake_files",
        sa.Column("path", sa.Text(), nullable=False, comment="relative to the lake's root"),
        sa.Column("dataset", sa.Text(), nullable=False, comment="raw_trades or candles"),
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("min_timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("max_timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("min_trade_id", sa.BigInteger(), nullable=True),
        sa.Column("max_trade_id", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("path"),
    )


def _create_market_data() -> None:
    op.create_table(
        "market_data",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("timeframe", sa.Text(), nullable=False),
        sa.Column(
            "timestamp", sa.DateTime(timezone=True), nullable=False, comment="close time of the candle"
        ),
        sa.Column("open", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("high", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("low", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("close", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("volume", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("trades_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("source", sa.Text(), nullable=False, comment="trades, exchange or synthetic"),
        sa.Column("revision", sa.Integer(), server_default="0", nullable=False),
        sa.Column("provisional", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("exchange", "symbol", "timeframe", "timestamp"),
    )


def _create_raw_trades() -> None:
    op.create_table(
        "raw_trades",
        sa.Column("exchange", sa.Text(), nullable=False),
        sa.Column("symbol", sa.Text(), nullable=False),
        sa.Column("trade_id", sa.BigInteger(), nullable=False, comment="last id of the aggregation"),
        sa.Column("timestamp", sa.DateTime(timezone=True), nullable=False),
        sa.Column("price", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("size", sa.Numeric(precision=38, scale=18), nullable=False),
        sa.Column("side", sa.Text(), nullable=False, comment="the taker's"),
        sa.Column("count", sa.Integer(), server_default="1", nullable=False, comment="matches aggregated"),
        sa.Column("source", sa.Text(), nullable=False, comment="websocket, rest or bulk"),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("exchange", "symbol", "trade_id", "timestamp"),
        postgresql_partition_by="RANGE (timestamp)",
    )
    op.create_index(
        "raw_trades_timestamp_brin", "raw_trades", ["timestamp"], unique=False, postgresql_using="brin"
    )


def _create_system_events() -> None:
    op.create_table(
        "system_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("timestamp", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("level", sa.Text(), nullable=False, comment="info, warning or error"),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("system_events_timestamp", "system_events", ["timestamp"], unique=False)
