"""Words for buy and sell conditions. All are Polars expressions and can be joined with & and |.

A condition is true on the candles where the strategy acts. `pl.col("rsi") < 30` alone is true for as long as
it lasts; `becomes(...)` and the crossings are true on one candle.
"""

from functools import lru_cache

import polars as pl

Line = str | float | pl.Expr
_PLAIN = (str, float, int)


def line(value: Line) -> pl.Expr:
    """A column by name, a constant, or an expression as it is."""
    if isinstance(value, pl.Expr):
        return value
    return pl.col(value) if isinstance(value, str) else pl.lit(float(value))


def crosses_above(first: Line, second: Line) -> pl.Expr:
    """True on the candle where `first` is above `second` and was not on the candle before (equal is not
    above). Null while either has no value yet."""
    return _crosses(first, second)


def crosses_below(first: Line, second: Line) -> pl.Expr:
    """True on the candle where `first` is below `second` and was not on the candle before."""
    return _crosses(second, first)


def becomes(condition: pl.Expr) -> pl.Expr:
    """True on the first candle of each stretch where `condition` holds; the candle before must be known."""
    return condition & ~condition.shift(1)


def _crosses(upper: Line, lower: Line) -> pl.Expr:
    if isinstance(upper, _PLAIN) and isinstance(lower, _PLAIN):
        return _kept_crossing(upper, lower)
    return _crossing(line(upper), line(lower))


@lru_cache(maxsize=4_096, typed=True)
def _kept_crossing(upper: str | float, lower: str | float) -> pl.Expr:
    """The same object for the same lines: a sweep asks for it once a combination."""
    return _crossing(line(upper), line(lower))


def _crossing(upper: pl.Expr, lower: pl.Expr) -> pl.Expr:
    # The comparison is shifted, not the lines: a shifted constant would be null.
    return (upper > lower) & (upper <= lower).shift(1)


def separation(first: Line, second: Line) -> pl.Expr:
    """A confidence that grows with the distance of two lines: 0 where they touch, 0.63 at 0.1 % of the
    price, towards 1 beyond."""
    distance = (line(first) - line(second)).abs() / pl.col("close")
    return 1 - (-distance / 0.001).exp()
