"""The yardstick: buy at once, never sell."""

from typing import ClassVar

import polars as pl

from strategies.base import VectorStrategy
from strategies.indicators.base import Indicator
from strategies.parameters import Parameters


class BuyAndHoldParameters(Parameters):
    """None of its own."""


class BuyAndHold(VectorStrategy[BuyAndHoldParameters]):
    """Wants to be in the market on every candle, so it buys at the first and stays."""

    lookback: ClassVar[int] = 0

    def indicators(self) -> dict[str, Indicator]:
        """None."""
        return {}

    def buy(self) -> pl.Expr:
        """Always."""
        return pl.lit(True)

    def sell(self) -> pl.Expr:
        """Never."""
        return pl.lit(False)
