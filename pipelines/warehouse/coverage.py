"""What is stored and what is not: holes between candles, unbroken runs of trade ids, totals."""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, Engine, text

from core.timeframes import Timeframe
from core.trades import Trade
from pipelines.exchanges.ccxt.traits import traits_of
from pipelines.warehouse.sql import EXCHANGE, to_datetime, to_ms

# The two ends count as stored, so that every hole has two neighbours. A provisional candle is known to lack
# trades: it counts as missing.
_HOLES = text("""
    WITH stored AS (
        SELECT timestamp FROM market_data
        WHERE exchange = :exchange AND symbol = :symbol AND timeframe = :timeframe
          AND timestamp > :start AND timestamp <= :end AND NOT provisional
        UNION ALL SELECT CAST(:start AS timestamptz)
        UNION ALL SELECT CAST(:end AS timestamptz) + make_interval(secs => :seconds)
    ), neighbours AS (
        SELECT timestamp, lag(timestamp) OVER (ORDER BY timestamp) AS previous FROM stored
    )
    SELECT previous, timestamp - make_interval(secs => :seconds) AS last_missing FROM neighbours
    WHERE timestamp - previous > make_interval(secs => :seconds) ORDER BY timestamp
""")

# Where the unbroken run of ids that ends at :last_id begins, looking back no further than :start.
_RUN = text("""
    WITH numbered AS (
        SELECT trade_id, count, lag(trade_id) OVER (ORDER BY trade_id) AS previous FROM raw_trades
        WHERE exchange = :exchange AND symbol = :symbol AND trade_id <= :last_id
          AND timestamp >= :start AND timestamp < :end
    )
    SELECT max(trade_id - count + 1) FILTER (WHERE previous IS DISTINCT FROM trade_id - count) AS first_id,
           max(trade_id) AS last_id
    FROM numbered
""")
_STORED = text("""
    SELECT 1 FROM raw_trades WHERE exchange = :exchange AND symbol = :symbol AND trade_id = :trade_id
      AND timestamp >= :start AND timestamp < :end
""")

_FIRST = text("""
    SELECT timestamp FROM raw_trades WHERE exchange = :exchange AND symbol = :symbol AND trade_id >= :first_id
      AND timestamp >= :start AND timestamp < :end ORDER BY trade_id LIMIT 1
""")
_AGGREGATES = text("""
    SELECT trade_id, count FROM raw_trades
    WHERE exchange = :exchange AND symbol = :symbol AND count > 1
      AND trade_id >= :first_id AND trade_id - count < :last_id AND timestamp BETWEEN :first AND :last
""")

_CANDLE_TOTALS = text("""
    SELECT exchange, symbol, timeframe, count(*) AS rows, min(timestamp) AS first, max(timestamp) AS last,
           count(*) FILTER (WHERE provisional) AS provisional
    FROM market_data GROUP BY 1, 2, 3 ORDER BY 1, 2, min(timestamp) - max(timestamp), 3
""")
_TRADE_TOTALS = text("""
    SELECT exchange, symbol, count(*) AS rows, min(timestamp) AS first, max(timestamp) AS last,
           sum(count) AS matches, min(trade_id - count + 1) AS first_id, max(trade_id) AS last_id
    FROM raw_trades GROUP BY 1, 2 ORDER BY 1, 2
""")


class CandleTotals(msgspec.Struct, frozen=True):
    """Stored candles of one series; first_ms and last_ms are close times. missing: holes between them."""

    exchange: str
    symbol: str
    timeframe: str
    rows: int
    first_ms: int
    last_ms: int
    missing: int
    provisional: int


class TradeTotals(msgspec.Struct, frozen=True):
    """Stored raw trades of one symbol. missing_ids: ids between the first and the last that no row covers;
    None for an exchange whose ids do not follow each other, where nothing can be said of them."""

    exchange: str
    symbol: str
    rows: int
    first_ms: int
    last_ms: int
    first_id: int
    last_id: int
    missing_ids: int | None


def missing_candles(
    engine: Engine, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int
) -> list[tuple[int, int]]:
    """The stretches (after_ms, last_ms] of close times in (start_ms, end_ms] without a candle, oldest first.
    Both ends must be boundaries of the timeframe."""
    parameters = {
        "exchange": EXCHANGE,
        "symbol": symbol,
        "timeframe": timeframe.value,
        "start": to_datetime(start_ms),
        "end": to_datetime(end_ms),
        "seconds": timeframe.ms // 1000,
    }
    with engine.connect() as connection:
        rows = connection.execute(_HOLES, parameters).all()
    return [(to_ms(row.previous), to_ms(row.last_missing)) for row in rows]


def run_start(engine: Engine, symbol: str, last_id: int, start_ms: int, end_ms: int) -> int | None:
    """First id of the unbroken stored run that ends with `last_id`, among trades of [start_ms, end_ms); None
    when `last_id` itself is not stored."""
    parameters = {
        "exchange": EXCHANGE,
        "symbol": symbol,
        "start": to_datetime(start_ms),
        "end": to_datetime(end_ms),
    }
    with engine.connect() as connection:
        if connection.execute(_STORED, {**parameters, "trade_id": last_id}).first() is None:
            return None
        row = connection.execute(_RUN, {**parameters, "last_id": last_id}).one()
    return int(row.first_id)


def first_time(engine: Engine, symbol: str, first_id: int, start_ms: int, end_ms: int) -> int | None:
    """Time of the first stored trade from `first_id` on, among those of [start_ms, end_ms), ms."""
    parameters = {
        "exchange": EXCHANGE,
        "symbol": symbol,
        "first_id": first_id,
        "start": to_datetime(start_ms),
        "end": to_datetime(end_ms),
    }
    with engine.connect() as connection:
        found = connection.execute(_FIRST, parameters).scalar()
    return None if found is None else to_ms(found)


def aggregated_ids(connection: Connection, trades: Sequence[Trade]) -> set[int]:
    """Every id covered by stored aggregates around these trades (of one symbol, at least one), their own ids
    included."""
    times = [trade.timestamp_ms for trade in trades]
    parameters = {
        "exchange": EXCHANGE,
        "symbol": trades[0].symbol,
        "first_id": min(trade.first_id for trade in trades),
        "last_id": max(trade.trade_id for trade in trades),
        # The matches of one aggregate are of one instant.
        "first": to_datetime(min(times) - 1),
        "last": to_datetime(max(times) + 1),
    }
    rows = connection.execute(_AGGREGATES, parameters)
    return {trade_id for row in rows for trade_id in range(row.trade_id - row.count + 1, row.trade_id + 1)}


def candle_totals(engine: Engine) -> list[CandleTotals]:
    """Every candle series in market_data."""
    with engine.connect() as connection:
        rows = connection.execute(_CANDLE_TOTALS).all()
    return [
        CandleTotals(
            row.exchange,
            row.symbol,
            row.timeframe,
            row.rows,
            to_ms(row.first),
            to_ms(row.last),
            _expected(row.timeframe, row.first, row.last) - row.rows,
            row.provisional,
        )
        for row in rows
    ]


def trade_totals(engine: Engine) -> list[TradeTotals]:
    """Every symbol in raw_trades."""
    with engine.connect() as connection:
        rows = connection.execute(_TRADE_TOTALS).all()
    return [
        TradeTotals(
            row.exchange,
            row.symbol,
            row.rows,
            to_ms(row.first),
            to_ms(row.last),
            row.first_id,
            row.last_id,
            row.last_id - row.first_id + 1 - int(row.matches)
            if traits_of(row.exchange).consecutive_ids
            else None,
        )
        for row in rows
    ]


def _expected(timeframe: str, first: datetime, last: datetime) -> int:
    return (to_ms(last) - to_ms(first)) // Timeframe(timeframe).ms + 1
