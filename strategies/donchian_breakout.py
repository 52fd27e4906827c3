"""Breakouts from the Donchian channel, left by the channel or by a stop below the high."""

import polars as pl

from strategies.base import VectorStrategy
from strategies.conditions import crosses_above, crosses_below
from strategies.indicators.base import Indicator
from strategies.indicators.volatility import atr, chandelier_stop, donchian_lower, donchian_upper
from strategies.parameters import Parameters, parameter


class DonchianBreakoutParameters(Parameters):
    """Lengths of the two channels, and the stop in average true ranges."""

    entry_period: int = parameter(
        20, "Candles of the channel that is broken", low=2, high=2000, search=(10, 60, 5)
    )
    exit_period: int = parameter(
        10, "Candles of the channel that ends the position", low=2, high=2000, search=(5, 30, 5)
    )
    atr_period: int = parameter(14, "Length of the average true range, candles", low=2, high=500)
    stop_distance: float = parameter(
        3.0, "Stop below the highest high, average true ranges", low=0.1, high=50, search=(1.5, 5.0, 0.5)
    )


class DonchianBreakout(VectorStrategy[DonchianBreakoutParameters]):
    """Buy a close above the highest high of `entry_period` candles; sell a close below the lowest low of
    `exit_period`, or `stop_distance` average true ranges below the highest high."""

    def indicators(self) -> dict[str, Indicator]:
        """The channel, the stop, and the range that widens it."""
        p = self.parameters
        return {
            "upper": donchian_upper(p.entry_period),
            "lower": donchian_lower(p.exit_period),
            "stop": chandelier_stop(p.entry_period, p.atr_period, p.stop_distance),
            "atr": atr(p.atr_period),
        }

    def buy(self) -> pl.Expr:
        """The close breaks out upwards, and not so far below its own high that the stop is under way."""
        return crosses_above("close", "upper") & (pl.col("close") > pl.col("stop"))

    def sell(self) -> pl.Expr:
        """The close falls out of the channel or through the stop."""
        return crosses_below("close", "lower") | crosses_below("close", "stop")

    def confidence(self) -> pl.Expr:
        """0.5 at the edge, 1 an average true range beyond it."""
        beyond = pl.max_horizontal(
            pl.col("close") - pl.col("upper"), pl.max_horizontal("lower", "stop") - pl.col("close")
        )
        return (0.5 + 0.5 * beyond / pl.col("atr")).clip(0.0, 1.0)
