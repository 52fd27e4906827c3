"""The result of a backtest, as frames for pages and as JSON for scripts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl

from pipelines.backtest.checks import DataReport
from pipelines.backtest.engine import Outcome
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.variant import variant


@dataclass(frozen=True)
class BacktestResult:
    """One run. Frames as in `pipelines.backtest.engine.Outcome`.

    id: the test_id of URLs · parameters: all of them, defaults included · start, end: open of the first
    candle judged, close of the last · warmup_candles: earlier candles that only fed the indicators ·
    validation: what `pipelines.validation.validate` says of it, if it was asked · sizes: the part of the risk
    block that the strategy chose itself
    """

    id: str
    request: BacktestRequest
    parameters: dict[str, Any]
    start: datetime
    end: datetime
    candles: int
    warmup_candles: int
    data: DataReport
    outcome: Outcome
    validation: dict[str, Any] | None = None
    sizes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trades(self) -> pl.DataFrame:
        """Round trips, oldest first."""
        return self.outcome.trades

    @property
    def equity(self) -> pl.DataFrame:
        """timestamp, equity at each close, the close itself."""
        return self.outcome.equity

    @property
    def signals(self) -> pl.DataFrame:
        """timestamp, signal_type, price of the decisions that were acted on."""
        return self.outcome.signals

    @property
    def metrics(self) -> dict[str, float | int | None]:
        """Name → value; None where undefined."""
        return self.outcome.metrics

    @property
    def final_value(self) -> float:
        """Equity at the last close, quote currency."""
        return self.outcome.final_value

    def to_document(self) -> dict[str, Any]:
        """The JSON document of the contract: times ISO 8601 with Z, ratios as fractions, no NaN."""
        request = self.request
        document = {
            "id": self.id,
            "strategy": request.strategy,
            "symbol": request.symbol,
            "timeframe": request.timeframe,
            "params": self.parameters,
            "from": iso(self.start),
            "to": iso(self.end),
            "candles": self.candles,
            "warmup_candles": self.warmup_candles,
            "initial_cash": request.cash,
            "final_value": self.final_value,
            "fee": request.fee,
            "slippage": request.slippage,
            "fill": request.fill,
            "fee_currency": "quote" if request.pays_in_quote else "received",
            "risk": request.risk.document() if request.risk else None,
            "execution": request.execution.document() if request.execution else None,
            "intrabar_candles": self.outcome.covered,
            "data": self.data.to_document(),
            "metrics": self.metrics,
            "trades": [
                row | {"entry_time": iso(row["entry_time"]), "exit_time": iso(row["exit_time"])}
                for row in self.trades.iter_rows(named=True)
            ],
        }
        return document if self.validation is None else document | {"validation": self.validation}


def saved_parameters(result: BacktestResult) -> dict[str, Any]:
    """The parameters under which a run is kept: all of them, its risk block and its execution options. What
    follows from the strategy is left out, as in rows of sweeps, so that a variant has one name."""
    request = result.request
    return variant(result.parameters, request.risk, request.execution, result.sizes)


def iso(time: datetime) -> str:
    """ISO 8601, UTC, with Z; milliseconds only where there are any."""
    text = time.astimezone(UTC).isoformat(timespec="milliseconds" if time.microsecond else "seconds")
    return text.replace("+00:00", "Z")
