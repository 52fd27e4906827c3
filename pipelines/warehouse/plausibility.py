"""Are stored candles believable? Minutes without a trade that nothing explains, candles that their own trades
contradict, days that lack rows."""

from datetime import date, datetime

import msgspec
from sqlalchemy import Engine, text

from core.timeframes import Timeframe
from pipelines.warehouse.sql import EXCHANGE, to_datetime

LONG_MINUTES = 60
"""Pairs of OKX that are worth collecting trade every few minutes, even at night."""

# A run that touches a hole of trade ids or a minute in which a connection was silent or made anew is the
# outage's; where no connection was there at all, the candles are a backfill's, and the exchange's own.
_SYNTHETIC = text("""
    WITH numbered AS (
        SELECT timestamp, timestamp - row_number() OVER (ORDER BY timestamp) * interval '1 minute' AS run
        FROM market_data
        WHERE exchange = :exchange AND symbol = :symbol AND timeframe = '1m' AND source = 'synthetic'
          AND timestamp > :start AND timestamp <= :end
    ), runs AS (
        SELECT min(timestamp) - interval '1 minute' AS first, max(timestamp) AS last, count(*) AS minutes
        FROM numbered GROUP BY run HAVING count(*) >= :minutes
    )
    SELECT first, last, minutes FROM runs AS r
    WHERE NOT EXISTS (
        SELECT 1 FROM data_gaps AS g WHERE g.exchange = :exchange AND g.symbol = :symbol
          AND g.detected_at BETWEEN r.first - interval '5 minutes' AND r.last + interval '5 minutes')
    AND EXISTS (SELECT 1 FROM connection_quality AS q WHERE q.minute >= r.first AND q.minute < r.last)
    AND NOT EXISTS (
        SELECT 1 FROM connection_quality AS q WHERE q.minute >= r.first AND q.minute < r.last
          AND (q.reconnects > 0 OR q.silences > 0))
    ORDER BY first
""")

# Minutes whose trades are all there: between the first and the last stored trade, away from holes in the ids.
_CONTRADICTED = text("""
    WITH numbered AS (
        SELECT timestamp, price, size, trade_id, count,
               lag(trade_id) OVER (ORDER BY trade_id) AS previous
        FROM raw_trades
        WHERE exchange = :exchange AND symbol = :symbol AND timestamp >= :start AND timestamp < :end
    ), minutes AS (
        SELECT date_trunc('minute', timestamp) + interval '1 minute' AS closed_at, sum(size) AS volume,
               max(price) AS high, min(price) AS low,
               bool_and(previous IS NOT DISTINCT FROM trade_id - count) AS is_whole
        FROM numbered GROUP BY 1
    ), followed AS (
        SELECT *, lead(is_whole) OVER (ORDER BY closed_at) AS is_followed FROM minutes
    )
    SELECT count(*) AS compared,
           count(*) FILTER (WHERE (m.volume, m.high, m.low) IS DISTINCT FROM (f.volume, f.high, f.low))
               AS contradicted,
           min(m.timestamp) FILTER (
               WHERE (m.volume, m.high, m.low) IS DISTINCT FROM (f.volume, f.high, f.low)) AS first_at
    FROM followed AS f JOIN market_data AS m ON m.timestamp = f.closed_at
     AND m.exchange = :exchange AND m.symbol = :symbol AND m.timeframe = '1m' AND NOT m.provisional
    WHERE f.is_whole AND f.is_followed
""")
_ROWS = text("""
    SELECT ((timestamp - interval '1 microsecond') AT TIME ZONE 'UTC')::date AS day, count(*) AS rows
    FROM market_data
    WHERE exchange = :exchange AND symbol = :symbol AND timeframe = :timeframe
      AND timestamp > :start AND timestamp <= :end GROUP BY 1 ORDER BY 1
""")


class SyntheticRun(msgspec.Struct, frozen=True):
    """Minutes in a row without a trade, from `first` until `last`, that no outage explains."""

    symbol: str
    first: datetime
    last: datetime
    minutes: int


class Contradictions(msgspec.Struct, frozen=True):
    """compared: minutes that have a candle and all of their trades; first_at: close of the first of those
    whose volume, high or low is another; None where there are none."""

    compared: int
    contradicted: int
    first_at: datetime | None


def unexplained_synthetic_runs(
    engine: Engine, symbol: str, start_ms: int, end_ms: int, minutes: int = LONG_MINUTES
) -> list[SyntheticRun]:
    """Runs of at least so many synthetic minutes in (start, end], oldest first, while the feed was up."""
    with engine.connect() as connection:
        rows = connection.execute(_SYNTHETIC, _key(symbol, start_ms, end_ms) | {"minutes": minutes}).all()
    return [SyntheticRun(symbol, row.first, row.last, row.minutes) for row in rows]


def contradictions(engine: Engine, symbol: str, start_ms: int, end_ms: int) -> Contradictions:
    """The 1m candles of [start, end) against the raw trades stored beside them."""
    with engine.connect() as connection:
        row = connection.execute(_CONTRADICTED, _key(symbol, start_ms, end_ms)).one()
    return Contradictions(row.compared, row.contradicted, row.first_at)


def rows_by_day(
    engine: Engine, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int
) -> dict[date, int]:
    """UTC day → candles stored, of the days in (start, end] that have any."""
    with engine.connect() as connection:
        key = _key(symbol, start_ms, end_ms) | {"timeframe": timeframe.value}
        return {row.day: row.rows for row in connection.execute(_ROWS, key)}


def _key(symbol: str, start_ms: int, end_ms: int) -> dict[str, object]:
    return {
        "exchange": EXCHANGE,
        "symbol": symbol,
        "start": to_datetime(start_ms),
        "end": to_datetime(end_ms),
    }
