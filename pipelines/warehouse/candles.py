"""Candles in Postgres: read as frames, write exactly."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from psycopg import sql
from sqlalchemy import Connection, Engine

from core.candles import Candle
from core.timeframes import Timeframe
from pipelines.warehouse.database import copying
from pipelines.warehouse.sql import EXCHANGE

if TYPE_CHECKING:
    import polars as pl

_READ = sql.SQL(
    """COPY (
        SELECT (extract(epoch FROM timestamp) * 1000000)::bigint, open, high, low, close, volume, trades_count
        FROM (
            SELECT * FROM market_data
            WHERE exchange = {exchange} AND symbol = {symbol} AND timeframe = {timeframe} {times}
            ORDER BY timestamp DESC {limit}
        ) AS newest
        ORDER BY timestamp
    ) TO STDOUT (FORMAT csv)"""
)

_WRITE = """
    INSERT INTO market_data AS old
        (exchange, symbol, timeframe, timestamp, open, high, low, close, volume, trades_count, source,
         revision, provisional)
    SELECT %s, symbol, timeframe, to_timestamp(close_ms / 1000.0), open, high, low, close, volume,
           trades_count, source, revision, provisional
    FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[],
                %s::numeric[], %s::numeric[], %s::int[], %s::text[], %s::int[], %s::bool[])
        AS new (symbol, timeframe, close_ms, open, high, low, close, volume, trades_count, source, revision,
                provisional)
    ON CONFLICT (exchange, symbol, timeframe, timestamp) DO UPDATE SET
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, source = excluded.source, provisional = excluded.provisional,
        trades_count = CASE WHEN excluded.source = 'exchange'
            THEN greatest(excluded.trades_count, old.trades_count) ELSE excluded.trades_count END,
        revision = old.revision + CASE WHEN
            (old.open, old.high, old.low, old.close, old.volume)
            IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume)
            OR (old.provisional AND NOT excluded.provisional)
            THEN 1 ELSE 0 END,
        changed_at = now()
    WHERE {}
    RETURNING symbol, timeframe, (extract(epoch FROM timestamp) * 1000)::bigint AS close_ms, revision
"""

# A candle that is already there with the same numbers is left alone, so that repeats are harmless. One with
# other numbers is a revision, and so is one that is not provisional any more. What trades say goes over what
# the exchange's history says about the count.
_UPSERT = _WRITE.format(
    """(old.open, old.high, old.low, old.close, old.volume)
          IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume)
       OR (excluded.source <> 'exchange' AND (old.trades_count, old.source, old.provisional)
           IS DISTINCT FROM (excluded.trades_count, excluded.source, excluded.provisional))"""
)
_ADD = _WRITE.format("old.provisional")


def read_candles(
    engine: Engine,
    symbol: str,
    timeframe: str,
    start_ms: int | None = None,
    end_ms: int | None = None,
    limit: int | None = None,
    exchange: str | None = None,
) -> "pl.DataFrame":
    """Stored candles whose close time is in [start_ms, end_ms], oldest first, as a candle frame with
    trades_count (Int64); `limit` keeps the newest; exchange: None is the one
    in force. Floats, for charts and indicators: never for money."""
    import polars as pl  # the daemon only writes: it starts faster and stays smaller without

    times: sql.Composable = sql.SQL("")
    if start_ms is not None:
        times += sql.SQL(" AND timestamp >= to_timestamp({} / 1000.0)").format(start_ms)
    if end_ms is not None:
        times += sql.SQL(" AND timestamp <= to_timestamp({} / 1000.0)").format(end_ms)
    query = _READ.format(
        exchange=exchange or EXCHANGE,
        symbol=symbol,
        timeframe=str(timeframe),
        times=times,
        limit=sql.SQL("") if limit is None else sql.SQL("LIMIT {}").format(limit),
    )
    with engine.connect() as connection, copying(connection, query) as copy:
        text = b"".join(copy)
    numbers = dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64)
    schema = {"timestamp": pl.Int64, **numbers, "trades_count": pl.Int64}
    frame = pl.read_csv(text, has_header=False, new_columns=list(schema), schema=schema)
    return frame.with_columns(pl.from_epoch("timestamp", time_unit="us").dt.replace_time_zone("UTC"))


def upsert_candles(
    connection: Connection, candles: Sequence[Candle], exchange: str = EXCHANGE
) -> dict[tuple[str, Timeframe, int], int]:
    """Write candles in the caller's transaction; the last one of a key wins.

    Returns the revision now stored, by (symbol, timeframe, close_ms), of each row that was new or changed;
    a candle that was stored before with the same numbers is not in it.
    """
    if not candles:
        return {}
    written = connection.exec_driver_sql(_UPSERT, _columns(candles, exchange))
    return {(row.symbol, Timeframe(row.timeframe), row.close_ms): row.revision for row in written}


def add_candles(connection: Connection, candles: Sequence[Candle], exchange: str = EXCHANGE) -> int:
    """Write those that are not stored yet, or provisional, in the caller's transaction. All others are left
    alone: what was collected meanwhile is worth more. Returns how many were written."""
    return len(connection.exec_driver_sql(_ADD, _columns(candles, exchange)).all()) if candles else 0


def _columns(candles: Sequence[Candle], exchange: str) -> tuple[object, ...]:
    """As `_WRITE` takes them; the last one of a key wins."""
    rows = {(candle.symbol, candle.timeframe, candle.close_ms): candle for candle in candles}.values()
    return (
        exchange,
        [candle.symbol for candle in rows],
        _array(candle.timeframe.value for candle in rows),
        _array(candle.close_ms for candle in rows),
        _array(candle.open for candle in rows),
        _array(candle.high for candle in rows),
        _array(candle.low for candle in rows),
        _array(candle.close for candle in rows),
        _array(candle.volume for candle in rows),
        _array(candle.trades_count for candle in rows),
        _array(candle.source for candle in rows),
        _array(candle.revision for candle in rows),
        _array(candle.provisional for candle in rows),
    )


def _array(values: Iterable[object]) -> str:
    """PostgreSQL's text of an array of numbers and plain words: psycopg would ask each how it is written,
    which is half of the work of a backfill."""
    return "{" + ",".join(map(str, values)) + "}"
