"""Optuna asks and is told in batches, so that the kernels walk a whole batch at once."""

from collections.abc import Iterator

import numpy as np
import optuna
import polars as pl
from optuna.trial import TrialState

from core.errors import BadInput
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.search import Chunk
from pipelines.sweep.space import Space

BATCH = 32
"""Combinations between two lessons: more are walked faster, fewer are better chosen."""
IDLE = 50
"""Draws for each combination wanted after which it is enough: it only draws what it has seen."""


class OptunaSearch:
    """Tree-structured Parzen estimator over the positions on the axes.

    A combination is worth the mean of the metric over the markets. One that the constraints drop, or without
    a value, counts as bad; one that was drawn before is not walked again. The same seed and candles draw the
    same combinations.
    """

    learns = True

    def __init__(self, space: Space, markets: int, request: SweepRequest) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._markets, self._request = space, markets, request
        self._study = optuna.create_study(
            direction="maximize" if request.descending else "minimize",
            sampler=optuna.samplers.TPESampler(seed=request.seed),
        )
        self._distributions: dict[str, optuna.distributions.BaseDistribution] = {
            axis.name: optuna.distributions.CategoricalDistribution(tuple(range(len(axis.values))))
            if axis.dtype in (pl.String, pl.Boolean)
            else optuna.distributions.IntDistribution(0, len(axis.values) - 1)
            for axis in space.axes
        }
        self._lessons: dict[int, list[float | None]] = {}
        self._worth: dict[int, float | None] = {}
        self.total = min(request.draws, space.size) * markets
        self.dropped = 0

    def rounds(self) -> Iterator[list[Chunk]]:
        """A round is a batch on every market."""
        number, left = 0, min(self._request.draws, self._space.size)
        while left > 0:
            asked = self._ask(min(BATCH, left))
            if not asked:
                break
            points = np.array(list(asked), np.int64)
            self._lessons.clear()
            yield [Chunk(number + m, m, points, points.size) for m in range(self._markets)]
            self._tell(asked)
            number, left = number + self._markets, left - points.size
        if not number:
            raise BadInput("grid", f"no valid combination among {self.dropped:,} that were looked at")

    def learn(self, chunk: Chunk, table: pl.DataFrame) -> None:
        """Take in the metric of each point of a chunk; the rows have the points' numbers."""
        values = dict(zip(table["point"].to_list(), table[self._request.sort].to_list(), strict=True))
        for point in chunk.points.tolist():
            self._lessons.setdefault(point, []).append(values.get(point))

    def _ask(self, count: int) -> dict[int, optuna.Trial]:
        asked: dict[int, optuna.Trial] = {}
        for _ in range(IDLE * count):
            if len(asked) == count:
                break
            trial = self._study.ask(self._distributions)
            point = 0
            for axis in self._space.axes:
                point = point * len(axis.values) + trial.params[axis.name]
            if point in self._worth:
                self._report(trial, self._worth[point])
            elif point in asked:
                self._study.tell(trial, state=TrialState.FAIL)
            elif not self._space.valid(np.array([point], np.int64))[0]:
                self.dropped += 1
                self._worth[point] = None
                self._report(trial, None)
            else:
                asked[point] = trial
        return asked

    def _tell(self, asked: dict[int, optuna.Trial]) -> None:
        for point, trial in asked.items():
            values = [value for value in self._lessons[point] if value is not None]
            whole = len(values) == self._markets
            self._worth[point] = sum(values) / len(values) if whole else None
            self._report(trial, self._worth[point])

    def _report(self, trial: optuna.Trial, worth: float | None) -> None:
        if worth is None:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, worth)
