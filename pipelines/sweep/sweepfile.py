"""config/sweeps/*.json: a sweep that is run again and again."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from config.files import read_model
from pipelines.sweep.request import SweepRequest


class SweepFile(BaseModel):
    """A strategy and its grid, with as much of the market and the costs as should stay the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: str = Field(description="Name of a strategy")
    symbol: str | None = Field(None, description="Pair, such as BTC-USDT")
    timeframe: str | None = Field(None, description="Length of a candle")
    grid: dict[str, list[Any] | str] = Field(
        description="Parameter → values: a list, start:stop:step (stop included), or a,b,c"
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="Parameters that stay the same")
    fee: float | None = Field(None, description="Taker fee of each fill, a fraction")
    slippage: float | None = Field(None, description="How much worse than the market each fill is")
    cash: float | None = Field(None, description="Cash at the start, quote currency")
    fill: str | None = Field(None, description="open or close")
    sort: str | None = Field(None, description="Metric the result is sorted by, best first")


def read_sweep_file(path: Path) -> dict[str, Any]:
    """What a sweep file says, by field; ConfigError names file and field."""
    return read_model(SweepFile, path).model_dump(exclude_none=True)


def request_of(path: Path, **more: Any) -> SweepRequest:
    """A sweep file as a request, with what it leaves open (symbol, timeframe, start, end) or overrides."""
    return SweepRequest.read(read_sweep_file(path) | more)
