"""config/sweeps/*.json: a sweep that is run again and again."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from config.files import read_model
from pipelines.sweep.request import Search, SweepRequest


def _described(name: str) -> Any:
    """A field that may be left out, with the request's own description."""
    return Field(None, description=SweepRequest.model_fields[name].description)


class SweepFile(BaseModel):
    """A strategy and its grid, with as much of the market and the costs as should stay the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: str = Field(description="Name of a strategy")
    symbol: str | list[str] | None = Field(None, description="Pair, such as BTC-USDT, or several")
    timeframe: str | list[str] | None = Field(None, description="Length of a candle, or several")
    exchange: str | None = _described("exchange")
    grid: dict[str, list[Any] | str] | None = _described("grid")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Parameters that stay the same")
    where: list[str] | None = _described("where")
    search: Search | None = _described("search")
    trials: int | None = _described("trials")
    seed: int | None = _described("seed")
    fee: float | None = _described("fee")
    slippage: float | None = _described("slippage")
    cash: float | None = _described("cash")
    fill: str | None = _described("fill")
    fee_currency: str | None = _described("fee_currency")
    risk: dict[str, Any] | None = _described("risk")
    execution: dict[str, Any] | None = _described("execution")
    sort: str | None = _described("sort")


def read_sweep_file(path: Path) -> dict[str, Any]:
    """What a sweep file says, by field; ConfigError names file and field."""
    return read_model(SweepFile, path).model_dump(exclude_none=True)


def request_of(path: Path, **more: Any) -> SweepRequest:
    """A sweep file as a request, with what it leaves open (symbol, timeframe, start, end) or overrides."""
    return SweepRequest.read(read_sweep_file(path) | more)
