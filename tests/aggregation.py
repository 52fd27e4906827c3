"""Candles by a group-by over all trades at once, written apart from the product's builder."""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl

from core.timeframes import Timeframe
from core.trades import Trade

Row = tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal, int]
"""close_ms, open, high, low, close, volume, trades_count"""


def trades_frame(trades: Sequence[Trade]) -> pl.DataFrame:
    """trade_id, timestamp_ms, price, size, count; exact."""
    return pl.DataFrame(
        {
            "trade_id": [t.trade_id for t in trades],
            "timestamp_ms": [t.timestamp_ms for t in trades],
            "price": [t.price for t in trades],
            "size": [t.size for t in trades],
            "count": [t.count for t in trades],
        },
        schema_overrides={"price": pl.Decimal(38, 12), "size": pl.Decimal(38, 12)},
    )


def candles_of(trades: pl.DataFrame, timeframe: Timeframe, through_ms: int) -> list[Row]:
    """Candles from the first one with a trade to `through_ms`; one without trades is flat."""
    candles = (
        trades.sort("trade_id")
        .with_columns(close_ms=pl.col("timestamp_ms") // timeframe.ms * timeframe.ms + timeframe.ms)
        .group_by("close_ms")
        .agg(
            pl.col("price").first().alias("open"),
            pl.col("price").max().alias("high"),
            pl.col("price").min().alias("low"),
            pl.col("price").last().alias("close"),
            pl.col("size").sum().alias("volume"),
            pl.col("count").sum().alias("trades_count"),
        )
    )
    traded: dict[int, Row] = {row[0]: row for row in candles.rows()}
    rows: list[Row] = []
    for close_ms in range(min(traded), through_ms + 1, timeframe.ms):
        price = rows[-1][4] if rows else Decimal(0)
        rows.append(traded.get(close_ms, (close_ms, price, price, price, price, Decimal(0), 0)))
    return rows
