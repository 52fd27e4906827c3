"""Indicators of traded volume: OBV, VWAP."""

import polars as pl

from strategies.indicators.base import indicator, settled


def _typical() -> pl.Expr:
    return (pl.col("high") + pl.col("low") + pl.col("close")) / 3


@indicator(warmup=lambda: 1, memory=lambda: None)
def obv() -> pl.Expr:
    """On-balance volume, base currency: volume added on rising closes, taken off on falling ones, from 0.

    A running total: its level depends on where the history begins; only its changes mean something.
    """
    return (pl.col("close").diff().sign().fill_null(0) * pl.col("volume")).cum_sum()


@indicator(warmup=lambda: 1, memory=lambda: None)
def vwap_anchored() -> pl.Expr:
    """Volume-weighted average of the typical price since the first candle; null while nothing traded."""
    volume = pl.col("volume").cum_sum()
    return pl.when(volume > 0).then((_typical() * pl.col("volume")).cum_sum() / volume)


@indicator(warmup=lambda period: period)
def vwap(period: int) -> pl.Expr:
    """Volume-weighted average of the typical price over the last `period` candles; null where nothing was
    traded in them."""
    volume = pl.col("volume").rolling_sum(window_size=period)
    value = (_typical() * pl.col("volume")).rolling_sum(window_size=period)
    traded = pl.col("volume").rolling_max(window_size=period) > 0
    return pl.when(traded).then(settled(value / volume))
