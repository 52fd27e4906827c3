"""What is in raw_trades, by SQL alone: its candles and its holes; nothing of the product takes part."""

from decimal import Decimal

from sqlalchemy import text

from core.timeframes import Timeframe
from pipelines.warehouse.database import engine

_QUERY = text(
    """
    SELECT (floor(extract(epoch FROM timestamp) * 1000 / :ms) * :ms + :ms)::bigint AS close_ms,
           (array_agg(price ORDER BY trade_id))[1], max(price), min(price),
           (array_agg(price ORDER BY trade_id DESC))[1], sum(size), sum(count)
    FROM raw_trades WHERE symbol = :symbol GROUP BY close_ms
    """
)
_HOLES = text(
    """
    SELECT count(*) FROM (
        SELECT trade_id - count - lag(trade_id) OVER (ORDER BY trade_id) AS skipped
        FROM raw_trades WHERE symbol = :symbol
    ) AS steps WHERE skipped <> 0
    """
)


def candles_by_sql(
    database_url: str, symbol: str, timeframe: Timeframe
) -> dict[int, tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal, int]]:
    """(close_ms, open, high, low, close, volume, trades_count) by close_ms."""
    with engine(database_url).connect() as connection:
        rows = connection.execute(_QUERY, {"symbol": symbol, "ms": timeframe.ms})
        return {row[0]: tuple(row) for row in rows}


def holes_by_sql(database_url: str, symbol: str) -> int:
    """Places at which ids are missing between two stored trades of a symbol, or are there twice."""
    with engine(database_url).connect() as connection:
        return int(connection.execute(_HOLES, {"symbol": symbol}).scalar_one())
