"""What an indicator is: a Polars expression that knows how much history it needs.

A new one is one function:

    @indicator(warmup=lambda period: period + 1)
    def momentum(period: int) -> pl.Expr:
        return pl.col("close") - pl.col("close").shift(period)

`momentum(10)` is then an `Indicator`; `momentum(10).on("1h")` the same on hourly candles.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from inspect import signature
from math import ceil, log
from typing import Any, ParamSpec

import polars as pl

from core.timeframes import Timeframe

P = ParamSpec("P")

# Results on a window must equal those on the full history within 1e-9; differences of indicators
# (a MACD, a crossing) lose digits, so every recursion is run until its start weighs less than this.
RESIDUE = 1e-12


@dataclass(frozen=True)
class Indicator:
    """An expression over the candle columns, and its needs. Equal kind, parameters, timeframe and function
    mean equal values, so one is computed for many parameter combinations.

    warmup: candles until the first value (its row number, counted from 1)
    memory: newest candles that determine the value within 1e-9 (None: the whole history, as for a running
        total)
    timeframe: None for the strategy's own candles, else higher candles, each visible only from its close
    function: what `indicator` made it of; two functions of the same name are two indicators
    """

    kind: str
    parameters: tuple[tuple[str, Any], ...]
    expression: pl.Expr = field(compare=False, repr=False)
    warmup: int = field(compare=False)
    memory: int | None = field(compare=False)
    timeframe: Timeframe | None = None
    function: Callable[..., pl.Expr] | None = field(default=None, repr=False)

    @property
    def shipped(self) -> str | None:
        """Its name among the package's own; None for any other one, whatever its name."""
        package = self.function.__module__.rpartition(".")[0] if self.function else None
        return self.kind if package == __package__ else None

    def on(self, timeframe: str) -> "Indicator":
        """The same indicator on the candles of a higher timeframe."""
        return replace(self, timeframe=Timeframe.parse(timeframe))


def indicator(
    warmup: Callable[P, int], memory: Callable[P, int | None] | None = None
) -> Callable[[Callable[P, pl.Expr]], Callable[P, Indicator]]:
    """Make an indicator of a function that returns an expression over `open, high, low, close, volume`.

    warmup, memory: functions of the same arguments (see `Indicator`); memory is the warm-up if not given,
    which is right for everything that looks back a fixed number of candles.
    """

    def decorate(function: Callable[P, pl.Expr]) -> Callable[P, Indicator]:
        shape = signature(function)

        def made(*args: P.args, **kwargs: P.kwargs) -> Indicator:
            bound = shape.bind(*args, **kwargs)
            bound.apply_defaults()
            return Indicator(
                kind=function.__name__,
                parameters=tuple(bound.arguments.items()),
                expression=function(*args, **kwargs),
                warmup=warmup(*args, **kwargs),
                memory=(memory or warmup)(*args, **kwargs),
                function=function,
            )

        # A sweep asks for the same few indicators once a combination.
        kept: Callable[..., Indicator] = lru_cache(maxsize=4_096, typed=True)(made)

        def make(*args: P.args, **kwargs: P.kwargs) -> Indicator:
            try:
                return kept(*args, **kwargs)
            except TypeError:  # an argument that is no key of a cache, or a wrong one
                return made(*args, **kwargs)

        make.__name__, make.__doc__ = function.__name__, function.__doc__
        return make

    return decorate


def recursion_memory(alpha: float, before: int = 0) -> int:
    """Candles after which a recursion of that weight has forgotten its start, plus those needed `before` it
    has a first value: (1 − alpha)^n < RESIDUE."""
    steps = 0 if alpha >= 1 else ceil(log(RESIDUE) / log(1 - alpha))
    return before + steps + 1


def seeded_ewm(values: pl.Expr, period: int, alpha: float) -> pl.Expr:
    """The recursion m += alpha·(x − m) that begins with the mean of the first `period` values, as Wilder and
    most chart packages have it; null before. Leading nulls of `values` are not counted."""
    seen = values.is_not_null().cum_sum()
    started = (
        pl.when(seen > period).then(values).when(seen == period).then(values.rolling_mean(window_size=period))
    )
    return started.ewm_mean(alpha=alpha, adjust=False, ignore_nulls=True)


def true_range() -> pl.Expr:
    """Wilder's true range, quote currency: the candle's range, widened to the previous close; null for the
    first candle."""
    previous = pl.col("close").shift(1)
    # A null previous close makes the sum null: max_horizontal alone would skip it.
    return (
        pl.max_horizontal(
            pl.col("high") - pl.col("low"),
            (pl.col("high") - previous).abs(),
            (pl.col("low") - previous).abs(),
        )
        + previous * 0
    )


def settled(values: pl.Expr) -> pl.Expr:
    """Rounded to 41 bits (12 digits). A running sum carries an error of the 16th digit that depends on where
    it began; two averages that are equal would cross or not by that error, so a bot with a short history
    and a backtest with a long one would disagree."""
    scaled = values * (2.0**12 + 1)
    return scaled - (scaled - values)


def flat(values: pl.Expr, period: int) -> pl.Expr:
    """True where the last `period` values are all the same, so that their mean is that value to the last
    digit and a price that stands still crosses nothing."""
    return values.rolling_max(window_size=period) == values.rolling_min(window_size=period)
