"""Columns that formulas share or need as a whole, each computed once, within bounded memory."""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from core.timeframes import Timeframe
from pipelines.backtest.account import Floats
from pipelines.sweep.formula import Node
from pipelines.sweep.program import SERIAL, Program, inputs, joined, parts_of, to_column
from strategies.columns import resample, with_indicators
from strategies.indicators.base import Indicator

WHOLE = ("candle", "polars", "indicator", "rolling", "streak")
"""Operations whose result is a column of its own."""


class TooMany(Exception):
    """More columns than there is room for at once."""


class Columns:
    """Rows of `values`, one for each column that is kept; null is NaN.

    bad: keys of columns that only Polars can tell, because NaN or infinity is in them
    """

    def __init__(self, candles: pl.DataFrame, own: Timeframe | None, most: int) -> None:
        self._candles, self._own = candles, own
        self.values: Floats = np.empty((max(most, 2), candles.height))
        self.bad: set[bytes] = set()
        self.rows: OrderedDict[bytes, int] = OrderedDict()
        self._free = list(range(self.values.shape[0]))
        self._higher: dict[Timeframe, tuple[pl.DataFrame, pl.Series]] = {}

    def prepare(self, formulas: Sequence[Sequence[Node]]) -> None:
        """Compute what several combinations share and what has to be there as a whole. formulas: those of
        each combination. TooMany when the columns do not fit, unless it is one combination."""
        wanted = self._wanted(formulas)
        for key in wanted:
            if key in self.rows:
                self.rows.move_to_end(key)
        missing = [node for node in wanted.values() if node.key not in self.rows]
        if len(wanted) > self.values.shape[0]:
            if len(formulas) > 1:
                raise TooMany
            self._grow(len(wanted))
        while len(self._free) < len(missing):
            self._free.append(self.rows.pop(next(key for key in self.rows if key not in wanted)))
        while missing:
            waiting = {node.key for node in missing}
            ready = [node for node in missing if not self._needs(node, waiting)]
            self._compute(ready)
            missing = [node for node in missing if node.key not in self.rows]

    def is_bad(self, formulas: Iterable[Node]) -> bool:
        """Whether one of the columns behind them is bad."""
        return bool(self.bad) and any(part.key in self.bad for part in parts_of(tuple(formulas), {}))

    def _wanted(self, formulas: Sequence[Sequence[Node]]) -> dict[bytes, Node]:
        order = parts_of([root for roots in formulas for root in roots], {})
        uses = Counter(part.key for roots in formulas for part in parts_of(roots, {}))
        wanted = {part.key for part in order if part.op in WHOLE} | {part.key for part in inputs(order)}
        work = _work(order)
        for part in order:
            for arg in part.args:
                shared = uses[arg.key] > 1 and (part.condition or uses[part.key] < uses[arg.key])
                if shared and not arg.condition and work[arg.key] > 1:
                    wanted.add(arg.key)
        return {part.key: part for part in order if part.key in wanted}

    def _needs(self, node: Node, waiting: set[bytes]) -> bool:
        known = {key: 0 for key in waiting if key != node.key}
        return any(part.key in known for part in parts_of([node], known))

    def _grow(self, most: int) -> None:
        more: Floats = np.empty((most, self.values.shape[1]))
        more[: self.values.shape[0]] = self.values
        self._free.extend(range(self.values.shape[0], most))
        self.values = more

    def _compute(self, nodes: Sequence[Node]) -> None:
        from pipelines.sweep.operations import streak

        told = [node for node in nodes if node.op in ("candle", "polars", "indicator")]
        told += self._rolled([node for node in nodes if node.op == "rolling"])
        programs: list[Program] = []
        own: list[Node] = []
        for node in nodes:
            if node.op == "streak":
                source = self.values[self.rows[node.args[0].key]]
                streak(source, self.values[self._take(node)])
            elif node.op not in WHOLE:
                rows = {**self.rows, node.key: self._take(node)}
                programs.append(to_column(node, rows))
                own.append(node)
        if programs:
            self._run(own, programs)
        if told:
            self._ask(told)

    def _rolled(self, nodes: Sequence[Node]) -> list[Node]:
        """Compute rolling windows; those that only Polars can, over a column with holes, are returned."""
        from pipelines.sweep.rolling import KINDS, first_known, parts_of_jobs, roll

        sources = {node.args[0].key: self.rows[node.args[0].key] for node in nodes}
        since = {key: first_known(self.values[row]) for key, row in sources.items()}
        jobs, left = [], []
        for node in nodes:
            (name, window, less), source = node.numbers, node.args[0].key
            if since[source] < 0 or window <= (less or 0):
                left.append(node)
            else:
                kind, target = KINDS.index(name), self._take(node)
                jobs.append((kind, sources[source], target, window, less or 0, since[source]))
        if jobs:
            roll(self.values, *parts_of_jobs(jobs))
        return left

    def _take(self, node: Node) -> int:
        self.rows[node.key] = self._free.pop()
        return self.rows[node.key]

    def _run(self, nodes: Sequence[Node], programs: Sequence[Program]) -> None:
        from pipelines.sweep.machine import fill_columns

        fine = np.ones(len(programs), np.uint8)
        code, numbers, starts, registers, conditions = joined(programs)
        fill_columns(code, numbers, starts, registers, conditions, self.values, fine)
        self.bad.update(node.key for node, good in zip(nodes, fine, strict=True) if not good)

    def _ask(self, nodes: Sequence[Node]) -> None:
        """What Polars computes, as many columns at once as it has threads."""
        found: Sequence[pl.Series | None]
        try:
            found = self._asked(nodes)
        except Exception:  # an expression of a person's own: one by one it shows which
            found = [self._alone(node) for node in nodes]
        for node, values in zip(nodes, found, strict=True):
            row = self._take(node)
            if values is None or values.len() != self._candles.height or not values.is_finite().all():
                self.bad.add(node.key)
            else:
                self.values[row] = values.to_numpy()

    def _asked(self, nodes: Sequence[Node]) -> list[pl.Series]:
        told = {n: self._indicator(node) for n, node in enumerate(nodes) if node.op == "indicator"}
        rest = {str(n): self._expression(node) for n, node in enumerate(nodes) if n not in told}
        inputs = {arg.key: arg for node in nodes for arg in node.args}
        frame = self._candles.with_columns(self._series(arg) for arg in inputs.values())
        found = frame.lazy().select(**rest).collect(engine="in-memory")
        return [told[n] if n in told else found[str(n)] for n in range(len(nodes))]

    def _alone(self, node: Node) -> pl.Series | None:
        try:
            return self._asked([node])[0]
        except Exception:  # whoever needs it is told by Polars what is wrong
            return None

    def _series(self, node: Node) -> pl.Series:
        values = pl.Series(node.key.hex(), self.values[self.rows[node.key]])
        return values if node.op == "candle" else values.fill_nan(None)

    def _expression(self, node: Node) -> pl.Expr:
        if node.op == "candle":
            return pl.col(node.numbers[0])
        if node.op == "polars":
            return pl.Expr.deserialize(node.numbers[0].encode(), format="json")
        name, window, freedom = node.numbers
        values = pl.col(node.args[0].key.hex())
        options = {} if freedom is None else {"ddof": freedom}
        made: pl.Expr = getattr(values, f"rolling_{name.lower()}")(window_size=window, **options)
        return made

    def _indicator(self, node: Node) -> pl.Series:
        (indicator,) = node.numbers
        assert isinstance(indicator, Indicator)
        if indicator.timeframe is None:
            return with_indicators(self._candles, {"line": indicator}, self._own)["line"].cast(pl.Float64)
        if indicator.timeframe not in self._higher:
            self._higher[indicator.timeframe] = self._resampled(indicator.timeframe)
        higher, newest = self._higher[indicator.timeframe]
        plain = replace(indicator, timeframe=None)
        return with_indicators(higher, {"line": plain})["line"].cast(pl.Float64).gather(newest)

    def _resampled(self, timeframe: Timeframe) -> tuple[pl.DataFrame, pl.Series]:
        """The higher candles, and for each of ours the newest that is over (null before there is one)."""
        higher = resample(self._candles, timeframe, self._own)
        numbered = higher.select("timestamp", newest=pl.int_range(pl.len()))
        ours = self._candles.select("timestamp").join_asof(numbered, on="timestamp", strategy="backward")
        return higher, ours["newest"]


def _work(order: Sequence[Node]) -> dict[bytes, int]:
    """About how long each takes, in operations on a block."""
    work: dict[bytes, int] = {}
    for part in order:
        own = 0 if part.op in WHOLE or part.constant else 10 if part.op in SERIAL else 1
        work[part.key] = own + sum(work[arg.key] for arg in part.args)
    return work
