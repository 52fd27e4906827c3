"""In the market while it is calm, out of it while it is wild."""

from typing import ClassVar

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
        0.25, "Leave when it is this fraction above the target", low=0, high=5, search=(0.0, 1.0, 0.25)
    )


class VolatilityTarget(VectorStrategy[VolatilityTargetParameters]):
    """Hold while the annual volatility is at most `target`, leave when it is more than `band` above; the
    confidence is the part of the account that has the target's volatility."""

    lookback: ClassVar[int] = 0

    def indicators(self) -> dict[str, Indicator]:
        """Annual volatility of the last candles."""
        candles_a_year = YEAR_MS / (self.timeframe or Timeframe.M1).ms
        return {"volatility": realised_volatility(self.parameters.period, candles_a_year)}

    def buy(self) -> pl.Expr:
        """Volatility is at most the target."""
        return pl.col("volatility") <= self.parameters.target

    def sell(self) -> pl.Expr:
        """Volatility is above the band."""
        return pl.col("volatility") > self.parameters.target * (1 + self.parameters.band)

    def confidence(self) -> pl.Expr:
        """target / volatility; for a sell, the part of the account that is too much."""
        part = (self.parameters.target / pl.col("volatility")).clip(0.0, 1.0)
        return pl.when(self.sell()).then(1.0 - part).otherwise(part)
