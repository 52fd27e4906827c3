"""What the launchpad shows for a backtest and a sweep."""

from typing import Any

import dagster as dg
from pydantic import Field


class BacktestConfig(dg.Config):
    """The fields of `pipelines.backtest.request.BacktestRequest`; an empty text means its default."""

    strategy: str = Field("ema_crossover", description="Name of a strategy, see `tcp strategies list`")
    symbol: str = Field("BTC-USDT", description="Pair")
    timeframe: str = Field("1m", description="1m, 5m, 15m, 1h, 4h or 1d")
    start: str = Field("", description="ISO 8601, UTC; empty: the oldest stored candle")
    end: str = Field("", description="ISO 8601, UTC; empty: the newest stored candle")
    parameters: dict[str, Any] = Field(
        {}, description="Parameters of the strategy; those left out keep their defaults"
    )
    fee: float = Field(0.001, description="Taker fee of a fill, a fraction")
    slippage: float = Field(0.0, description="How much worse than the market a fill is, a fraction")
    cash: float = Field(10_000.0, description="Cash at the start, quote currency")
    fill: str = Field(
        "open", description="open: at the next candle's open; close: at the close that gave the signal"
    )

    def document(self) -> dict[str, Any]:
        """The request's fields, without the empty ones."""
        return {name: value for name, value in self.model_dump().items() if value != ""}


class SweepConfig(dg.Config):
    """Which sweeps to run."""

    file: str = Field("", description="A file of config/sweeps; empty: all of them, in order of name")
