"""Indicator columns for a candle frame, on its own candles and on higher ones."""

from collections.abc import Mapping
from datetime import timedelta

import polars as pl

from core.timeframes import Timeframe
from strategies.indicators.base import Indicator


def with_indicators(
    candles: pl.DataFrame, indicators: Mapping[str, Indicator], own: Timeframe | None = None
) -> pl.DataFrame:
    """The frame with a column for each indicator, null where it has no value (never NaN).

    own: timeframe of the candles, by default their shortest distance. A value of a higher timeframe appears
    on the candle that closes together with the higher candle, and stays until the next one closes.
    """
    frame = _append(candles, {name: i for name, i in indicators.items() if i.timeframe is None})
    for timeframe in dict.fromkeys(i.timeframe for i in indicators.values() if i.timeframe is not None):
        chosen = {name: i for name, i in indicators.items() if i.timeframe == timeframe}
        higher = _append(resample(candles, timeframe, own), chosen).select("timestamp", *chosen)
        frame = frame.join_asof(higher, on="timestamp", strategy="backward")
    return frame.select(*candles.columns, *indicators)


def _append(candles: pl.DataFrame, indicators: Mapping[str, Indicator]) -> pl.DataFrame:
    # Lazy, so that a part shared by two indicators is computed once; the in-memory engine keeps the order
    # of rows, the streaming one does not.
    expressions = [i.expression.fill_nan(None).alias(name) for name, i in indicators.items()]
    return candles.lazy().with_columns(expressions).collect(engine="in-memory")


def resample(candles: pl.DataFrame, timeframe: Timeframe, own: Timeframe | None = None) -> pl.DataFrame:
    """Higher candles, labelled by their close, of which the whole span lies in the frame.

    A first candle that began before the frame and a last one that is not over are left out; a hole inside is
    bridged by the candles there are.
    """
    if candles.is_empty():
        return candles.select("timestamp", "open", "high", "low", "close", "volume")
    own_length = timedelta(milliseconds=own.ms) if own else candles["timestamp"].diff().min()
    length = timedelta(milliseconds=timeframe.ms)
    label = pl.col("timestamp").dt.offset_by("-1us").dt.truncate(f"{timeframe.ms // 60_000}m") + length
    grouped = (
        candles.group_by(label.alias("label"), maintain_order=True)
        .agg(
            pl.col("timestamp").first().alias("first"),
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
        )
        .sort("label")
        .rename({"label": "timestamp"})
    )
    begun_inside = (pl.int_range(pl.len()) > 0) | (
        pl.col("first") - pl.lit(own_length) <= pl.col("timestamp") - length
    )
    over = pl.col("timestamp") <= candles["timestamp"].item(-1)
    return grouped.filter(begun_inside & over).drop("first")
