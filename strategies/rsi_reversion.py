"""Buying weakness, selling strength, by the relative strength index."""

import polars as pl

from strategies.base import VectorStrategy
from strategies.conditions import crosses_above, crosses_below
from strategies.indicators.base import Indicator
from strategies.indicators.momentum import rsi
from strategies.parameters import Parameters, parameter


class RsiReversionParameters(Parameters):
    """Length of the RSI and the two levels that are extreme."""

    ordered = (("oversold", "overbought"),)
    period: int = parameter(14, "Length of the RSI, candles", low=2, high=1000, search=(7, 28, 1))
    oversold: float = parameter(30.0, "RSI below this is weak: buy", low=0, high=100, search=(15, 40, 5))
    overbought: float = parameter(70.0, "RSI above this is strong: sell", low=0, high=100, search=(60, 85, 5))


class RsiReversion(VectorStrategy[RsiReversionParameters]):
    """Buy when the RSI falls below `oversold`, sell when it rises above `overbought`."""

    def indicators(self) -> dict[str, Indicator]:
        """The RSI."""
        return {"rsi": rsi(self.parameters.period)}

    def buy(self) -> pl.Expr:
        """The RSI falls into the weak zone."""
        return crosses_below("rsi", self.parameters.oversold)

    def sell(self) -> pl.Expr:
        """The RSI rises into the strong zone."""
        return crosses_above("rsi", self.parameters.overbought)

    def confidence(self) -> pl.Expr:
        """How far beyond the level, 10 points being certain."""
        beyond = pl.max_horizontal(
            self.parameters.oversold - pl.col("rsi"), pl.col("rsi") - self.parameters.overbought
        )
        return (0.5 + beyond / 20).clip(0.0, 1.0)
