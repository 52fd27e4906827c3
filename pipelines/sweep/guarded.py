"""Combinations with exits or orders that wait: each goes through their kernel, candle by candle."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from core.metrics import METRICS
from pipelines.backtest.account import Floats
from pipelines.backtest.candles import Stretch
from pipelines.backtest.engine import account_of, metrics_of
from pipelines.sweep.general import SharedColumns, told
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.space import Case

if TYPE_CHECKING:
    from pipelines.backtest.ordered import Laid


def guarded_metrics(
    cases: Sequence[Case],
    piece: Stretch,
    request: SweepRequest,
    shared: SharedColumns,
    laid: "Laid | None",
    report: Callable[[int], None],
) -> tuple[dict[str, Floats], list[str | None]]:
    """Metric → column, NaN where undefined, and the error of each; a row is that of the single backtest.

    laid: the bars that cases with execution options walk along. report(done): called along the way. Cases
    that follow each other with the same parameters share their signals.
    """
    traded = piece.candles.slice(piece.warm)
    rows = np.full((len(cases), len(METRICS)), np.nan)
    errors: list[str | None] = []
    last: tuple[Any, pl.DataFrame] | None = None
    for n, case in enumerate(cases):
        strategy = case.strategy
        assert strategy is not None
        try:
            if last is None or last[0] != strategy.parameters:
                last = strategy.parameters, shared.signals(strategy).slice(piece.warm)
            market = request.model_copy(update={"risk": case.risk, "execution": case.execution})
            walked = account_of(strategy, piece.candles, last[1], market, piece.warm, laid)
            metrics = metrics_of(walked, traded, market)
            rows[n] = [np.nan if metrics[name] is None else metrics[name] for name in METRICS]
            errors.append(None)
        except Exception as error:  # the strategy's own code: its row says what happened
            errors.append(told(error))
        report(n + 1)
    return {name: rows[:, n] for n, name in enumerate(METRICS)}, errors
