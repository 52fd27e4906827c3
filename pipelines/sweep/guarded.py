"""Sweeps with a risk block: every combination goes through the kernel of exits, candle by candle."""

from typing import Any

import numpy as np

from core.metrics import METRICS
from pipelines.backtest.candles import Stretch
from pipelines.backtest.engine import account_of, metrics_of
from pipelines.sweep.general import SharedColumns
from pipelines.sweep.lines import lines_at_once
from pipelines.sweep.request import SweepRequest
from strategies.base import Strategy

COUNTS = ("trades", "closed_trades")


def guarded_metrics(
    strategies: list[Strategy], piece: Stretch, request: SweepRequest, report: Any
) -> dict[str, Any]:
    """Metric → column, NaN where undefined; each row is that of the single backtest.

    report(done, of): called along the way
    """
    shared = SharedColumns(piece.candles, lines_at_once(piece.candles.height))
    traded, rows = piece.candles.slice(piece.warm), []
    for n, strategy in enumerate(strategies):
        judged = shared.signals(strategy).slice(piece.warm)
        rows.append(
            metrics_of(account_of(strategy, piece.candles, judged, request, piece.warm), traded, request)
        )
        report(n + 1, len(strategies))
    return {
        name: np.array(
            [np.nan if row[name] is None else row[name] for row in rows],
            np.int64 if name in COUNTS else np.float64,
        )
        for name in METRICS
    }
