"""Crossing of two exponential moving averages."""

import polars as pl

from strategies.base import VectorStrategy
from strategies.conditions import crosses_above, crosses_below, separation
from strategies.indicators.averages import ema
from strategies.indicators.base import Indicator
from strategies.parameters import Parameters, parameter


class EmaCrossoverParameters(Parameters):
    """Lengths of the two averages, in candles."""

    ordered = (("fast_period", "slow_period"),)
    fast_period: int = parameter(12, "Length of the fast EMA, candles", low=1, high=2000, search=(5, 50, 1))
    slow_period: int = parameter(26, "Length of the slow EMA, candles", low=2, high=5000, search=(20, 200, 5))


class EmaCrossover(VectorStrategy[EmaCrossoverParameters]):
    """Buy when the fast EMA crosses above the slow one, sell when it crosses below."""

    def indicators(self) -> dict[str, Indicator]:
        """The two averages."""
        return {
            "ema_fast": ema(self.parameters.fast_period),
            "ema_slow": ema(self.parameters.slow_period),
        }

    def buy(self) -> pl.Expr:
        """The fast average rises through the slow one."""
        return crosses_above("ema_fast", "ema_slow")

    def sell(self) -> pl.Expr:
        """The fast average falls through the slow one."""
        return crosses_below("ema_fast", "ema_slow")

    def confidence(self) -> pl.Expr:
        """Grows with the distance between the averages."""
        return separation("ema_fast", "ema_slow")
