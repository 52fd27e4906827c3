"""Direction and strength of a trend: ADX, SuperTrend."""

import polars as pl

from strategies.indicators.base import indicator, recursion_memory, seeded_ewm, true_range


def _directional(period: int, upwards: bool) -> pl.Expr:
    """Wilder's directional index, 0 … 100: smoothed movement in one direction over smoothed true range."""
    up = pl.col("high").diff()
    down = -pl.col("low").diff()
    ahead, behind = (up, down) if upwards else (down, up)
    movement = pl.when((ahead > behind) & (ahead > 0)).then(ahead).otherwise(ahead * 0)
    span = seeded_ewm(true_range(), period, 1 / period)
    smoothed = seeded_ewm(movement, period, 1 / period)
    return pl.when(span == 0).then(0.0).otherwise(100 * smoothed / span)


@indicator(
    warmup=lambda period=14: period + 1, memory=lambda period=14: recursion_memory(1 / period, period + 1)
)
def plus_di(period: int = 14) -> pl.Expr:
    """+DI of Wilder, 0 … 100: how much of the movement is upwards."""
    return _directional(period, upwards=True)


@indicator(
    warmup=lambda period=14: period + 1, memory=lambda period=14: recursion_memory(1 / period, period + 1)
)
def minus_di(period: int = 14) -> pl.Expr:
    """−DI of Wilder, 0 … 100: how much of the movement is downwards."""
    return _directional(period, upwards=False)


@indicator(
    warmup=lambda period=14: 2 * period,
    memory=lambda period=14: 2 * recursion_memory(1 / period, period + 1),
)
def adx(period: int = 14) -> pl.Expr:
    """Average directional index of Wilder, 0 … 100: strength of the trend, whichever way."""
    plus, minus = _directional(period, upwards=True), _directional(period, upwards=False)
    index = pl.when(plus + minus == 0).then(0.0).otherwise(100 * (plus - minus).abs() / (plus + minus))
    return seeded_ewm(index, period, 1 / period)


def _follow(columns: pl.Series, multiple: float) -> pl.Series:
    """The band that trails the price: a loop, because each value depends on the side of the one before."""
    line: list[float | None] = []
    upper = lower = 0.0
    bullish, begun, before = True, False, 0.0
    for row in columns:
        middle, span, close = row["middle"], row["span"], row["close"]
        if span is None:
            line.append(None)
            before = close
            continue
        new_upper, new_lower = middle + multiple * span, middle - multiple * span
        if not begun:
            bullish, upper, lower, begun = close >= middle, new_upper, new_lower, True
        if new_upper < upper or before > upper:
            upper = new_upper
        if new_lower > lower or before < lower:
            lower = new_lower
        bullish = close > (lower if bullish else upper)
        line.append(lower if bullish else upper)
        before = close
    return pl.Series(line, dtype=pl.Float64)


@indicator(
    warmup=lambda period=10, multiple=3.0: period + 1,
    memory=lambda period=10, multiple=3.0: None,
)
def supertrend(period: int = 10, multiple: float = 3.0) -> pl.Expr:
    """SuperTrend, quote currency: a stop that trails the price by `multiple` average true ranges and changes
    side when the close crosses it. Its side can depend on any earlier candle."""
    span = seeded_ewm(true_range(), period, 1 / period)
    middle = (pl.col("high") + pl.col("low")) / 2
    columns = pl.struct(middle.alias("middle"), span.alias("span"), pl.col("close"))
    return columns.map_batches(lambda rows: _follow(rows, multiple), return_dtype=pl.Float64)
