"""Combinations with a risk block: each goes through the kernel of exits, candle by candle."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from core.metrics import METRICS
from pipelines.backtest.account import Floats
from pipelines.backtest.candles import Stretch
from pipelines.backtest.engine import account_of, metrics_of
from pipelines.backtest.risk import Risk
from pipelines.sweep.general import SharedColumns, told
from pipelines.sweep.request import SweepRequest
from strategies.base import Strategy


def guarded_metrics(
    cases: Sequence[tuple[Strategy, Risk]],
    piece: Stretch,
    request: SweepRequest,
    shared: SharedColumns,
    report: Callable[[int], None],
) -> tuple[dict[str, Floats], list[str | None]]:
    """Metric → column, NaN where undefined, and the error of each; a row is that of the single backtest.

    report(done): called along the way. Cases that follow each other with the same parameters share their
    signals.
    """
    traded = piece.candles.slice(piece.warm)
    rows = np.full((len(cases), len(METRICS)), np.nan)
    errors: list[str | None] = []
    last: tuple[Any, pl.DataFrame] | None = None
    for n, (strategy, risk) in enumerate(cases):
        try:
            if last is None or last[0] != strategy.parameters:
                last = strategy.parameters, shared.signals(strategy).slice(piece.warm)
            market = request.model_copy(update={"risk": risk})
            metrics = metrics_of(
                account_of(strategy, piece.candles, last[1], market, piece.warm), traded, market
            )
            rows[n] = [np.nan if metrics[name] is None else metrics[name] for name in METRICS]
            errors.append(None)
        except Exception as error:  # the strategy's own code: its row says what happened
            errors.append(told(error))
        report(n + 1)
    return {name: rows[:, n] for n, name in enumerate(METRICS)}, errors
