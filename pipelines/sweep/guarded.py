"""Combinations with exits or orders that wait: each goes through their kernel, candle by candle."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from core.metrics import METRICS
from pipelines.backtest.account import Floats, Ints
from pipelines.backtest.candles import Stretch
from pipelines.backtest.engine import account_of, close_of, metrics_of
from pipelines.backtest.guarded import bars_of
from pipelines.sweep.general import SharedColumns, Signals, told
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.space import Case
from strategies.base import Strategy

if TYPE_CHECKING:
    from pipelines.backtest.exits import Bars
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
    import numba

    traded = piece.candles.slice(piece.warm)
    closes, bars = close_of(traded), bars_of(traded, request, piece.volumes)
    rows, errors = [], list[str | None]()
    groups = [list(alike) for _, alike in groupby(cases, lambda case: _strategy(case).parameters)]
    # The kernels and NumPy let each other run.
    with ThreadPoolExecutor(numba.get_num_threads()) as threads:
        for group, signals in zip(
            groups, shared.each([_strategy(alike[0]) for alike in groups]), strict=True
        ):
            judged = signals if isinstance(signals, BaseException) else _judged(signals, piece)
            for row, error in threads.map(
                partial(_measured, judged, piece, closes, request, laid, bars), group
            ):
                rows.append(row)
                errors.append(error)
                report(len(errors))
    columns = np.array(rows)
    return {name: columns[:, n] for n, name in enumerate(METRICS)}, errors


def _measured(
    judged: pl.DataFrame | BaseException,
    piece: Stretch,
    closes: tuple[Floats, Ints],
    request: SweepRequest,
    laid: "Laid | None",
    bars: "Bars",
    case: Case,
) -> tuple[list[float], str | None]:
    """The metrics of a case, or its error."""
    try:
        if isinstance(judged, BaseException):
            raise judged
        market = request.model_copy(update={"risk": case.risk, "execution": case.execution})
        walked = account_of(
            _strategy(case), piece.candles, judged, market, piece.warm, laid, bars, volumes=piece.volumes
        )
        metrics = metrics_of(walked, *closes, market)
        return [np.nan if (value := metrics[name]) is None else value for name in METRICS], None
    except (Exception, SystemExit) as error:  # the strategy's own code: its row says what happened
        return [np.nan] * len(METRICS), told(error)


def _strategy(case: Case) -> Strategy:
    assert case.strategy is not None
    return case.strategy


def _judged(signals: Signals, piece: Stretch) -> pl.DataFrame:
    """Those of the candles that are traded, as `evaluate` has them."""
    buy, sell = (flags[piece.warm : piece.candles.height].view(np.bool_) for flags in signals)
    return pl.DataFrame({"buy": buy, "sell": sell})
