"""Following the trend by the MACD and its signal line."""

import polars as pl

from strategies.base import VectorStrategy
from strategies.conditions import crosses_above, crosses_below, separation
from strategies.indicators.base import Indicator
from strategies.indicators.momentum import macd, macd_signal
from strategies.parameters import Parameters, parameter


class MacdTrendParameters(Parameters):
    """Lengths of the MACD's three averages, in candles."""

    ordered = (("fast_period", "slow_period"),)
    fast_period: int = parameter(12, "Length of the fast EMA, candles", low=1, high=1000, search=(6, 24, 2))
    slow_period: int = parameter(26, "Length of the slow EMA, candles", low=2, high=2000, search=(20, 60, 4))
    signal_period: int = parameter(
        9, "Length of the signal line, candles", low=2, high=1000, search=(5, 15, 2)
    )


class MacdTrend(VectorStrategy[MacdTrendParameters]):
    """Buy when the MACD crosses above its signal line, sell when it crosses below."""

    def indicators(self) -> dict[str, Indicator]:
        """The MACD and its signal line."""
        p = self.parameters
        return {
            "macd": macd(p.fast_period, p.slow_period),
            "macd_signal": macd_signal(p.fast_period, p.slow_period, p.signal_period),
        }

    def buy(self) -> pl.Expr:
        """The MACD rises through its signal line."""
        return crosses_above("macd", "macd_signal")

    def sell(self) -> pl.Expr:
        """The MACD falls through its signal line."""
        return crosses_below("macd", "macd_signal")

    def confidence(self) -> pl.Expr:
        """Grows with the distance between the two lines."""
        return separation("macd", "macd_signal")
