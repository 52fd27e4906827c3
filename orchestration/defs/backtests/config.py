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
    fee_currency: str = Field(
        "", description="received or quote: what pays the fee of a buy; empty: as the fill has it"
    )
    exchange: str = Field("", description="Whose stored candles; empty: the exchange in force")
    risk: dict[str, Any] = Field({}, description="Exits and sizes, as a bot's risk block")
    execution: dict[str, Any] = Field(
        {}, description="Orders, costs and the path inside candles: order, offset, spread, intrabar …"
    )

    def document(self) -> dict[str, Any]:
        """The request's fields, without the empty ones."""
        return {name: value for name, value in self.model_dump().items() if value not in ("", {})}


class SweepConfig(dg.Config):
    """Which sweeps to run: a file of config/sweeps, all of them, or one made up here. The other fields are
    those of `pipelines.sweep.request.SweepRequest` and go over those of a file; empty ones do not."""

    file: str = Field(
        "", description="A file of config/sweeps; empty, and no strategy: all of them, in order of name"
    )
    strategy: str = Field("", description="Name of a strategy: a sweep without a file")
    symbol: str = Field("", description="Pair, or several with commas")
    timeframe: str = Field("", description="1m, 5m, 15m, 1h, 4h or 1d, or several with commas")
    exchange: str = Field("", description="Whose stored candles; empty: the exchange in force")
    start: str = Field("", description="ISO 8601, UTC; empty: the oldest stored candle")
    end: str = Field("", description="ISO 8601, UTC; empty: the newest stored candle")
    grid: dict[str, Any] = Field(
        {},
        description="Parameter, exit (stop_loss, max_candles …) or execution option (order, offset …) → "
        "values: a list, start:stop:step or a,b,c; empty: the ranges the strategy declares",
    )
    parameters: dict[str, Any] = Field({}, description="Parameters that stay the same")
    where: list[str] = Field([], description="Conditions, such as fast_period * 2 < slow_period")
    search: str = Field("", description="grid, random or optuna; empty: grid")
    trials: int = Field(0, description="Combinations of a random or optuna search; 0: 100")
    seed: int = Field(0, description="Of a random or optuna search")
    risk: dict[str, Any] = Field({}, description="Exits and sizes that stay the same, as a bot's risk block")
    execution: dict[str, Any] = Field(
        {}, description="Orders, costs and path inside candles that stay the same"
    )
    fee: float | None = Field(None, description="Taker fee of a fill, a fraction; none: 0.001")
    slippage: float | None = Field(None, description="How much worse than the market a fill is; none: 0")
    sort: str = Field("", description="Metric to sort by and to search for; empty: sharpe")
    scheduler: str = Field("", description="HOST:PORT of a Dask cluster; empty: this machine")

    @property
    def own_fields(self) -> set[str]:
        """Fields that are not the request's."""
        return {"file", "scheduler"}

    def document(self) -> dict[str, Any]:
        """The request's fields, without the empty ones."""
        given = self.model_dump(exclude=self.own_fields)
        return {name: value for name, value in given.items() if value not in ("", None, 0, {}, [])}


class WalkForwardConfig(SweepConfig):
    """Which sweeps to walk forward, over which windows; each symbol and timeframe alone, on this machine."""

    windows: str = Field(
        "rolling:train=14d,test=7d",
        description="rolling:train=60d,test=14d, anchored:train=60d,test=14d or purged:folds=6",
    )

    @property
    def own_fields(self) -> set[str]:
        """Fields that are not the request's."""
        return {"file", "scheduler", "windows"}
