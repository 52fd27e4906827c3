"""Oscillators: RSI, MACD, Stochastic."""

import polars as pl

from strategies.indicators.averages import ema_expression
from strategies.indicators.base import indicator, recursion_memory, seeded_ewm, settled


@indicator(warmup=lambda period: period + 1, memory=lambda period: recursion_memory(1 / period, period + 1))
def rsi(period: int = 14) -> pl.Expr:
    """Relative strength index of Wilder, 0 … 100: averages of gains and losses start from the mean of the
    first `period` changes, then move by 1/period. No movement at all is 50; no loss is 100."""
    change = pl.col("close").diff()
    gain = seeded_ewm(change.clip(lower_bound=0), period, 1 / period)
    loss = seeded_ewm((-change).clip(lower_bound=0), period, 1 / period)
    return pl.when(gain + loss == 0).then(50.0).otherwise(100 * gain / (gain + loss))


def _macd_expression(fast_period: int, slow_period: int, seed: str) -> pl.Expr:
    close = pl.col("close")
    return ema_expression(close, fast_period, seed) - ema_expression(close, slow_period, seed)


def _signal_expression(fast_period: int, slow_period: int, signal_period: int, seed: str) -> pl.Expr:
    return ema_expression(_macd_expression(fast_period, slow_period, seed), signal_period, seed)


def _macd_memory(fast_period: int, slow_period: int, signal_period: int = 0, seed: str = "first") -> int:
    # The signal line also forgets its own start, and the start of what it averages: their lengths add up.
    slow = recursion_memory(2 / (max(fast_period, slow_period) + 1), max(fast_period, slow_period))
    return slow + (recursion_memory(2 / (signal_period + 1), signal_period) if signal_period else 0)


@indicator(
    warmup=lambda fast_period=12, slow_period=26, seed="first": max(fast_period, slow_period),
    memory=lambda fast_period=12, slow_period=26, seed="first": _macd_memory(fast_period, slow_period),
)
def macd(fast_period: int = 12, slow_period: int = 26, seed: str = "first") -> pl.Expr:
    """MACD line, quote currency: fast EMA minus slow EMA of the close."""
    return _macd_expression(fast_period, slow_period, seed)


@indicator(
    warmup=lambda fast_period=12, slow_period=26, signal_period=9, seed="first": (
        max(fast_period, slow_period) + signal_period - 1
    ),
    memory=lambda fast_period=12, slow_period=26, signal_period=9, seed="first": _macd_memory(
        fast_period, slow_period, signal_period
    ),
)
def macd_signal(
    fast_period: int = 12, slow_period: int = 26, signal_period: int = 9, seed: str = "first"
) -> pl.Expr:
    """Signal line of the MACD: its EMA over `signal_period` candles."""
    return _signal_expression(fast_period, slow_period, signal_period, seed)


def _fast_k(period: int) -> pl.Expr:
    highest = pl.col("high").rolling_max(window_size=period)
    lowest = pl.col("low").rolling_min(window_size=period)
    width = highest - lowest
    return pl.when(width == 0).then(50.0).otherwise(100 * (pl.col("close") - lowest) / width)


@indicator(warmup=lambda period=14, smoothing=3: period + smoothing - 1)
def stochastic_k(period: int = 14, smoothing: int = 3) -> pl.Expr:
    """Slow stochastic %K, 0 … 100: where the close is in the range of `period` candles, averaged over
    `smoothing`. A range of nothing is 50."""
    return settled(_fast_k(period).rolling_mean(window_size=smoothing))


@indicator(warmup=lambda period=14, smoothing=3, signal_period=3: period + smoothing + signal_period - 2)
def stochastic_d(period: int = 14, smoothing: int = 3, signal_period: int = 3) -> pl.Expr:
    """Stochastic %D: the mean of %K over `signal_period` candles."""
    slow = _fast_k(period).rolling_mean(window_size=smoothing)
    return settled(slow.rolling_mean(window_size=signal_period))
