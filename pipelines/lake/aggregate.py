"""Candles out of archived trades, exact: the same rules as the live builder's, over whole files at once."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl

from core.timeframes import Timeframe


def candles_of_trades(files: Sequence[Path], timeframe: Timeframe) -> pl.DataFrame:
    """The candles that have trades in these files of the lake, oldest first.

    timestamp (close time), open, high, low, close, volume (decimals), trades_count (Int64). Open and close
    are those of the lowest and the highest trade id. The files of one symbol, in order of their days.
    """
    first, last = pl.col("trade_id").arg_min(), pl.col("trade_id").arg_max()
    price = pl.col("price")
    return (
        pl.scan_parquet(list(files), hive_partitioning=False)
        .select(pl.col("timestamp").set_sorted(), "trade_id", "price", "size", "count")
        .group_by_dynamic("timestamp", every=timedelta(milliseconds=timeframe.ms))
        .agg(
            price.get(first).alias("open"),
            price.max().alias("high"),
            price.min().alias("low"),
            price.get(last).alias("close"),
            pl.col("size").sum().alias("volume"),
            pl.col("count").sum().cast(pl.Int64).alias("trades_count"),
        )
        .with_columns(pl.col("timestamp") + timedelta(milliseconds=timeframe.ms))
        # In memory: the streaming engine keeps no order.
        .collect(engine="in-memory")
    )
