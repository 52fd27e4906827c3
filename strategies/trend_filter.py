"""A crossing that is taken only with the trend of a higher timeframe."""

from typing import Literal

import polars as pl

from strategies.base import VectorStrategy
from strategies.conditions import crosses_above, crosses_below, separation
from strategies.indicators.averages import ema
from strategies.indicators.base import Indicator
from strategies.parameters import Parameters, parameter


class TrendFilterParameters(Parameters):
    """The crossing's two lengths, and the trend's length and timeframe."""

    ordered = (("fast_period", "slow_period"),)
    fast_period: int = parameter(12, "Length of the fast EMA, candles", low=1, high=2000, search=(5, 50, 5))
    slow_period: int = parameter(
        26, "Length of the slow EMA, candles", low=2, high=5000, search=(20, 200, 10)
    )
    trend_period: int = parameter(
        30, "Length of the trend's EMA, candles of its timeframe", low=1, high=500, search=(10, 60, 10)
    )
    trend_timeframe: Literal["5m", "15m", "1h", "4h", "1d"] = parameter(
        "15m", "Timeframe of the trend, longer than the strategy's own"
    )


class TrendFilter(VectorStrategy[TrendFilterParameters]):
    """Buy when the fast EMA crosses above the slow one while the close is above the EMA of the higher
    timeframe; sell when it crosses below, whatever the trend."""

    def indicators(self) -> dict[str, Indicator]:
        """The two averages, and the trend, which changes when a higher candle closes."""
        p = self.parameters
        return {
            "ema_fast": ema(p.fast_period),
            "ema_slow": ema(p.slow_period),
            "trend": ema(p.trend_period).on(p.trend_timeframe),
        }

    def buy(self) -> pl.Expr:
        """The fast average rises through the slow one, with the trend."""
        return crosses_above("ema_fast", "ema_slow") & (pl.col("close") > pl.col("trend"))

    def sell(self) -> pl.Expr:
        """The fast average falls through the slow one."""
        return crosses_below("ema_fast", "ema_slow")

    def confidence(self) -> pl.Expr:
        """Grows with the distance between the averages."""
        return separation("ema_fast", "ema_slow")
