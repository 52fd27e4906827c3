"""Bands and ranges: standard deviation, Bollinger, ATR, Keltner, Donchian."""

import polars as pl

from strategies.indicators.averages import ema_expression
from strategies.indicators.base import flat, indicator, recursion_memory, seeded_ewm, settled, true_range


def _deviation(period: int) -> pl.Expr:
    close = pl.col("close")
    return pl.when(flat(close, period)).then(0.0).otherwise(close.rolling_std(window_size=period, ddof=0))


def _band(period: int, deviations: float) -> pl.Expr:
    close = pl.col("close")
    band = close.rolling_mean(window_size=period) + deviations * _deviation(period)
    return pl.when(flat(close, period)).then(close).otherwise(settled(band))


@indicator(warmup=lambda period: period)
def stdev(period: int) -> pl.Expr:
    """Population standard deviation of the last `period` closes, quote currency."""
    return _deviation(period)


@indicator(warmup=lambda period=20, deviations=2.0: period)
def bollinger_upper(period: int = 20, deviations: float = 2.0) -> pl.Expr:
    """Upper Bollinger band: the mean plus `deviations` population standard deviations."""
    return _band(period, deviations)


@indicator(warmup=lambda period=20, deviations=2.0: period)
def bollinger_lower(period: int = 20, deviations: float = 2.0) -> pl.Expr:
    """Lower Bollinger band: the mean minus `deviations` population standard deviations."""
    return _band(period, -deviations)


@indicator(
    warmup=lambda period=14: period + 1, memory=lambda period=14: recursion_memory(1 / period, period + 1)
)
def atr(period: int = 14) -> pl.Expr:
    """Average true range of Wilder, quote currency: starts from the mean of the first `period` true ranges,
    then moves by 1/period."""
    return seeded_ewm(true_range(), period, 1 / period)


def _keltner_memory(period: int = 20, multiple: float = 2.0, atr_period: int = 10) -> int:
    average = recursion_memory(2 / (period + 1), period)
    return max(average, recursion_memory(1 / atr_period, atr_period + 1))


def _keltner_warmup(period: int = 20, multiple: float = 2.0, atr_period: int = 10) -> int:
    return max(period, atr_period + 1)


def _keltner(period: int, multiple: float, atr_period: int) -> pl.Expr:
    middle = ema_expression(pl.col("close"), period, "mean")
    return middle + multiple * seeded_ewm(true_range(), atr_period, 1 / atr_period)


@indicator(warmup=_keltner_warmup, memory=_keltner_memory)
def keltner_upper(period: int = 20, multiple: float = 2.0, atr_period: int = 10) -> pl.Expr:
    """Upper Keltner channel: EMA (seeded with the mean) plus `multiple` average true ranges."""
    return _keltner(period, multiple, atr_period)


@indicator(warmup=_keltner_warmup, memory=_keltner_memory)
def keltner_lower(period: int = 20, multiple: float = 2.0, atr_period: int = 10) -> pl.Expr:
    """Lower Keltner channel: EMA (seeded with the mean) minus `multiple` average true ranges."""
    return _keltner(period, -multiple, atr_period)


@indicator(warmup=lambda period=20: period + 1)
def donchian_upper(period: int = 20) -> pl.Expr:
    """Highest high of the `period` candles before this one."""
    return pl.col("high").shift(1).rolling_max(window_size=period)


@indicator(warmup=lambda period=20: period + 1)
def donchian_lower(period: int = 20) -> pl.Expr:
    """Lowest low of the `period` candles before this one."""
    return pl.col("low").shift(1).rolling_min(window_size=period)


def _chandelier_memory(period: int = 22, atr_period: int = 14, distance: float = 3.0) -> int:
    return max(period, recursion_memory(1 / atr_period, atr_period + 1))


def _chandelier_warmup(period: int = 22, atr_period: int = 14, distance: float = 3.0) -> int:
    return max(period, atr_period + 1)


@indicator(warmup=_chandelier_warmup, memory=_chandelier_memory)
def chandelier_stop(period: int = 22, atr_period: int = 14, distance: float = 3.0) -> pl.Expr:
    """Stop of a long position: the highest high of the last `period` candles, this one included, less
    `distance` average true ranges (Wilder's)."""
    return pl.col("high").rolling_max(window_size=period) - distance * seeded_ewm(
        true_range(), atr_period, 1 / atr_period
    )


@indicator(warmup=lambda period, candles_a_year: period + 1)
def realised_volatility(period: int, candles_a_year: float) -> pl.Expr:
    """Sample standard deviation of the last `period` logarithmic returns of the close, a year's fraction."""
    returned = (pl.col("close") / pl.col("close").shift(1)).log()
    spread = settled(returned.rolling_std(window_size=period))
    return pl.when(flat(returned, period)).then(0.0).otherwise(spread * candles_a_year**0.5)
