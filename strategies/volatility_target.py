"""Always in the market, with as much of the account as its volatility allows."""

from collections.abc import Mapping
from math import log
from typing import Any

import polars as pl

from core.metrics import YEAR_MS
from core.timeframes import Timeframe
from strategies.base import VectorStrategy
from strategies.indicators.base import Indicator
from strategies.indicators.volatility import realised_volatility
from strategies.parameters import Parameters, parameter


class VolatilityTargetParameters(Parameters):
    """How volatility is measured, and how much of it is wanted."""

    period: int = parameter(
        120, "Candles over which volatility is measured", low=5, high=5000, search=(30, 480, 30)
    )
    target: float = parameter(
        0.6, "Annual volatility that is wanted, a fraction", low=0.01, high=10, search=(0.2, 1.2, 0.1)
    )
    band: float = parameter(
        0.25, "Width of a step of volatility, a fraction", low=0.01, high=5, search=(0.25, 1.0, 0.25)
    )


class VolatilityTarget(VectorStrategy[VolatilityTargetParameters]):
    """Hold the part target / volatility of the account in coins, all of it where the market is calmer than
    the target. Volatilities above it are cut into steps, each `band` wider than the one before: entering
    another one sells, and the next candle that stays in it buys the part that is right now."""

    def indicators(self) -> dict[str, Indicator]:
        """Annual volatility of the last candles."""
        candles_a_year = YEAR_MS / (self.timeframe or Timeframe.M1).ms
        return {"volatility": realised_volatility(self.parameters.period, candles_a_year)}

    @property
    def sizes(self) -> Mapping[str, Any]:
        """The part of the account that has the target's volatility."""
        return {
            "sizing": "volatility",
            "size": self.parameters.target,
            "volatility_candles": self.parameters.period,
        }

    def buy(self) -> pl.Expr:
        """Volatility is in the step of the candle before."""
        return self._step() == self._step().shift(1)

    def sell(self) -> pl.Expr:
        """Volatility has entered another step."""
        return self._step() != self._step().shift(1)

    def confidence(self) -> pl.Expr:
        """target / volatility, 1 at most."""
        return (self.parameters.target / pl.col("volatility")).clip(0.0, 1.0)

    def _step(self) -> pl.Expr:
        """0 up to the target, 1 up to a band above it, and so on."""
        above = (pl.col("volatility") / self.parameters.target).log() / log(1 + self.parameters.band)
        return above.ceil().clip(lower_bound=0.0)
