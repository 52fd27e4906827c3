"""Combinations on one market: from numbers of a space to a table of metrics."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from core.metrics import METRICS
from core.timeframes import Timeframe
from pipelines.backtest.account import Floats, Ints
from pipelines.backtest.candles import Stretch
from pipelines.backtest.engine import laid_for
from pipelines.sweep.axes import Points
from pipelines.sweep.crossings import costs, walk_pairs
from pipelines.sweep.general import SharedColumns, told
from pipelines.sweep.lines import Pair, crossing_pair, lines_at_once
from pipelines.sweep.prices import Prices, prepare
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.space import Case, Space
from pipelines.sweep.table import metrics_of, table_of
from strategies.base import Strategy

if TYPE_CHECKING:
    from pipelines.backtest.ordered import Laid

Report = Callable[[int], None]
Measured = tuple[dict[str, Floats], list[str | None]]


class Walker:
    """The candles of a market, made ready once for any number of combinations."""

    def __init__(self, space: Space, request: SweepRequest, piece: Stretch, window: int) -> None:
        """request: of this market alone; window: candles before the first one that were asked for."""
        self._space, self._request, self._piece = space, request, piece
        # Only where there may be earlier candles, and not all combinations were asked, can one lack some.
        self._window = window if piece.warm and not space.whole else None

    def table(self, points: Points, report: Report = lambda done: None) -> pl.DataFrame:
        """A row for each point that the strategy does not refuse, in their order: point, symbol, timeframe,
        parameters, metrics, error. report(done): called along the way."""
        cases = self._space.cases(points, self._request.timeframe, self._window).walked
        metrics = {name: np.full(len(cases), np.nan) for name in METRICS}
        errors = [case.error for case in cases]
        whole = [n for n, case in enumerate(cases) if case.strategy and case.plain]
        guarded = [n for n, case in enumerate(cases) if case.strategy and not case.plain]
        for numbers, walk in ((whole, self._whole), (guarded, self._guarded)):
            if numbers:
                found, failed = walk([cases[n] for n in numbers], report)
                for name, column in found.items():
                    metrics[name][numbers] = column
                for n, error in zip(numbers, failed, strict=True):
                    errors[n] = error
        columns: list[pl.Series] = [pl.Series("point", [case.point for case in cases], dtype=pl.Int64)]
        for at, axis in enumerate(self._space.axes):
            values = [case.values[at] for case in cases]
            columns.append(pl.Series(axis.name, values, dtype=axis.dtype, strict=False))
        market = self._request.symbol, self._request.timeframe
        return table_of(*market, pl.DataFrame(columns), metrics, errors)

    @cached_property
    def _prices(self) -> Prices:
        piece = self._piece
        request, traded = self._request, piece.candles.slice(piece.warm)
        return prepare(traded, request.fill == "open", request.candle_ms, piece.volumes)

    @cached_property
    def _shared(self) -> SharedColumns:
        own = Timeframe(self._request.timeframe)
        return SharedColumns(self._piece.candles, own, lines_at_once(self._piece.candles.height))

    @cached_property
    def _laid(self) -> "Laid":
        piece = self._piece
        return laid_for(self._request, piece.candles, piece.warm, piece.path, piece.volumes)

    def _whole(self, cases: list[Case], report: Report) -> Measured:
        """All in and out on signals, from event to event."""
        from pipelines.sweep.walk import new_states

        strategies = [case.strategy for case in cases if case.strategy]
        floats, integers = new_states(len(strategies), self._request.cash)
        errors: list[str | None] = [None] * len(strategies)
        crossings, walked = _crossings(strategies), False
        if crossings is not None:
            pairs, warmups = crossings
            market = self._piece, self._prices, self._request
            try:
                walked = walk_pairs(pairs, warmups, *market, floats, integers, lambda n, of: report(n))
            except pl.exceptions.PolarsError:
                walked = False  # one of the lines cannot be computed: one by one it shows which
        if not walked:
            floats, integers = new_states(len(strategies), self._request.cash)
            errors = self._each(strategies, floats, integers, report)
        return metrics_of(floats, integers, self._prices, self._request.cash), errors

    def _each(
        self, strategies: Sequence[Strategy], floats: Floats, integers: Ints, report: Report
    ) -> list[str | None]:
        from pipelines.sweep.events import walk_flags
        from pipelines.sweep.machine import walk_programs

        left, arguments = set(range(len(strategies))), (costs(self._request), self._prices)
        for batch in self._shared.batches(strategies):
            fine = np.ones(len(batch.numbers), np.uint8)
            states, wholes = floats[batch.numbers], integers[batch.numbers]
            walk_programs(
                states, wholes, *batch.programs, self._shared.values, self._piece.warm, fine, *arguments
            )
            done = [n for n, good in zip(batch.numbers, fine, strict=True) if good]
            floats[done], integers[done] = states[fine == 1], wholes[fine == 1]
            left.difference_update(done)
            report(len(strategies) - len(left))
        errors: list[str | None] = [None] * len(strategies)
        for n in sorted(left):
            try:
                signals = self._shared.signals(strategies[n])
                walk_flags(floats[n], integers[n], *signals, self._piece.warm, *arguments)
            except (Exception, SystemExit) as error:  # the strategy's own code: its row says what happened
                errors[n] = told(error)
            left.discard(n)
            report(len(strategies) - len(left))
        return errors

    def _guarded(self, cases: list[Case], report: Report) -> Measured:
        from pipelines.sweep.guarded import guarded_metrics

        laid = self._laid if any(case.execution for case in cases) else None
        return guarded_metrics(cases, self._piece, self._request, self._shared, laid, report)


def _crossings(strategies: Sequence[Strategy]) -> tuple[list[Pair], Ints] | None:
    """The two lines of each, if all they do is to trade their crossings, and its warm-up."""
    pairs, warmups = [], []
    for strategy in strategies:
        try:
            pair, warmup = crossing_pair(strategy), strategy.warmup
        except (Exception, SystemExit):  # the row of this one will say so
            return None
        if pair is None:
            return None
        pairs.append(pair)
        warmups.append(warmup)
    return pairs, np.array(warmups, np.int64)
