"""Moving averages: simple, exponential, weighted."""

import polars as pl

from strategies.indicators.base import flat, indicator, recursion_memory, seeded_ewm, settled


@indicator(warmup=lambda period, source="close": period)
def sma(period: int, source: str = "close") -> pl.Expr:
    """Simple moving average: the mean of the last `period` values."""
    return mean(pl.col(source), period)


def mean(values: pl.Expr, period: int) -> pl.Expr:
    """Mean of the last `period` values, the same wherever the history begins."""
    rolled = settled(values.rolling_mean(window_size=period))
    return pl.when(flat(values, period)).then(values).otherwise(rolled)


def ema_expression(values: pl.Expr, period: int, seed: str = "first") -> pl.Expr:
    """EMA of any expression; see `ema`."""
    alpha = 2 / (period + 1)
    if seed == "mean":
        return seeded_ewm(values, period, alpha)
    return values.ewm_mean(alpha=alpha, adjust=False, min_samples=period, ignore_nulls=True)


@indicator(
    warmup=lambda period, source="close", seed="first": period,
    memory=lambda period, source="close", seed="first": recursion_memory(2 / (period + 1), period),
)
def ema(period: int, source: str = "close", seed: str = "first") -> pl.Expr:
    """Exponential moving average, m += 2/(period+1)·(x − m), null before `period` candles were seen.

    seed: "first" starts from the first value (pandas' adjust=False), "mean" from the mean of the first
    `period` values.
    """
    return ema_expression(pl.col(source), period, seed)


@indicator(warmup=lambda period, source="close": period)
def wma(period: int, source: str = "close") -> pl.Expr:
    """Linearly weighted moving average: the newest of `period` values weighs `period`, the oldest 1."""
    total = period * (period + 1) / 2
    weights = [(k + 1) / total for k in range(period)]
    return settled(pl.col(source).rolling_mean(window_size=period, weights=weights))
