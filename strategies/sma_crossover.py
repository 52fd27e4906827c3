"""Crossing of two simple moving averages."""

import polars as pl

from strategies.base import VectorStrategy
from strategies.conditions import crosses_above, crosses_below, separation
from strategies.indicators.averages import sma
from strategies.indicators.base import Indicator
from strategies.parameters import Parameters, parameter


class SmaCrossoverParameters(Parameters):
    """Lengths of the two averages, in candles."""

    ordered = (("fast_period", "slow_period"),)
    fast_period: int = parameter(12, "Length of the fast SMA, candles", low=1, high=2000, search=(5, 50, 1))
    slow_period: int = parameter(26, "Length of the slow SMA, candles", low=2, high=5000, search=(20, 200, 5))


class SmaCrossover(VectorStrategy[SmaCrossoverParameters]):
    """Buy when the fast SMA crosses above the slow one, sell when it crosses below."""

    def indicators(self) -> dict[str, Indicator]:
        """The two averages."""
        return {
            "sma_fast": sma(self.parameters.fast_period),
            "sma_slow": sma(self.parameters.slow_period),
        }

    def buy(self) -> pl.Expr:
        """The fast average rises through the slow one."""
        return crosses_above("sma_fast", "sma_slow")

    def sell(self) -> pl.Expr:
        """The fast average falls through the slow one."""
        return crosses_below("sma_fast", "sma_slow")

    def confidence(self) -> pl.Expr:
        """Grows with the distance between the averages."""
        return separation("sma_fast", "sma_slow")
