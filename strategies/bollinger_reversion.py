"""Return to the mean from outside the Bollinger bands."""

import polars as pl

from strategies.base import VectorStrategy
from strategies.conditions import crosses_above, crosses_below
from strategies.indicators.averages import sma
from strategies.indicators.base import Indicator
from strategies.indicators.volatility import bollinger_lower, bollinger_upper
from strategies.parameters import Parameters, parameter


class BollingerReversionParameters(Parameters):
    """Length and width of the bands."""

    period: int = parameter(20, "Length of mean and deviation, candles", low=2, high=2000, search=(10, 60, 5))
    deviations: float = parameter(
        2.0, "Half width of the bands, standard deviations", low=0.1, high=10, search=(1.0, 3.0, 0.25)
    )


class BollingerReversion(VectorStrategy[BollingerReversionParameters]):
    """Buy when the close falls below the lower band, sell when it has come back above the middle one."""

    def indicators(self) -> dict[str, Indicator]:
        """The three bands."""
        p = self.parameters
        return {
            "middle": sma(p.period),
            "lower": bollinger_lower(p.period, p.deviations),
            "upper": bollinger_upper(p.period, p.deviations),
        }

    def buy(self) -> pl.Expr:
        """The close falls through the lower band."""
        return crosses_below("close", "lower")

    def sell(self) -> pl.Expr:
        """The close rises through the mean."""
        return crosses_above("close", "middle")

    def confidence(self) -> pl.Expr:
        """How far outside the bands, in their half width; 0.5 at the band."""
        width = pl.col("upper") - pl.col("middle")
        return (0.5 * (pl.col("close") - pl.col("middle")).abs() / width).clip(0.0, 1.0)
