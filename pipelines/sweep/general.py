"""Sweeps of any vectorised strategy: its conditions as programs of the `machine`, or as columns of Polars."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.errors import TcpError
from core.timeframes import Timeframe
from pipelines.backtest.account import Floats, Ints
from pipelines.sweep.columns import Columns, TooMany
from pipelines.sweep.formula import Node, Unknown, clean, column
from pipelines.sweep.program import joined, to_signals
from pipelines.sweep.reading import read
from strategies.base import Strategy, VectorStrategy
from strategies.columns import with_indicators
from strategies.evaluate import evaluate, flags
from strategies.indicators.base import Indicator

Bytes = NDArray[np.uint8]
Signals = tuple[Bytes, Bytes]
"""buy and sell, a byte for each candle, 1 where to act, and as many 0 as make the length a multiple of 8."""
AT_ONCE = 256
"""Combinations that are made ready together: what they share is computed once."""
REMEMBERED = 4_096
"""Indicators whose formulas are kept."""


@dataclass(frozen=True)
class Batch:
    """Combinations that the machine can walk. numbers: which of those given; programs: arguments of
    `machine.walk_programs`."""

    numbers: list[int]
    programs: tuple[Ints, Floats, Ints, Ints, int, int]


class SharedColumns:
    """Signals of many combinations over the same candles; `most` columns of them are kept at once."""

    def __init__(self, candles: pl.DataFrame, own: Timeframe | None, most: int) -> None:
        self._candles = candles
        self._columns = Columns(candles, own, most)
        self._formulas: OrderedDict[Indicator, Node] = OrderedDict()
        self._kept: OrderedDict[Indicator, pl.Series] = OrderedDict()
        self._most = most

    @property
    def values(self) -> Floats:
        """The columns that the programs of the last batch read."""
        return self._columns.values

    def batches(self, strategies: Sequence[Strategy]) -> Iterator[Batch]:
        """Those that the machine can walk, in their order; the columns are those of the last one. What is in
        none of them is for `signals`."""
        waiting: list[tuple[int, int, tuple[Node, Node]]] = []
        for n, strategy in enumerate(strategies):
            found = self._read(strategy)
            if found is not None:
                waiting.append((n, strategy.warmup, found))
        size = AT_ONCE
        while waiting:
            size = min(size, len(waiting))
            some = waiting[:size]
            try:
                self._columns.prepare([roots for _, _, roots in some])
            except TooMany:
                size = max(1, size // 2)
                continue
            waiting = waiting[size:]
            good = [one for one in some if not self._columns.is_bad(one[2])]
            if good:
                programs = [to_signals(*roots, self._columns.rows) for _, _, roots in good]
                code, numbers, starts, registers, conditions = joined(programs)
                warmups = np.array([warmup for _, warmup, _ in good], np.int64)
                arguments = code, numbers, starts, warmups, registers, conditions
                yield Batch([n for n, _, _ in good], arguments)

    def each(self, strategies: Sequence[Strategy]) -> Iterator[Signals | BaseException]:
        """The signals of each as `signals` has them, or what its own code raised."""
        n = 0
        for batch in self.batches(strategies):
            for place, number in enumerate(batch.numbers):
                yield from map(self._told, strategies[n:number])
                found = self._computed(batch, place)
                yield self._told(strategies[number]) if found is None else found
                n = number + 1
        yield from map(self._told, strategies[n:])

    def _computed(self, batch: Batch, place: int) -> Signals | None:
        from pipelines.sweep.machine import signals

        code, numbers, starts, warmups, registers, conditions = batch.programs
        own = slice(starts[place], starts[place + 1])
        buy, sell = (np.zeros((self.values.shape[1] + 7) // 8 * 8, np.uint8) for _ in range(2))
        fine = signals(code[own], numbers[own], registers, conditions, self.values, warmups[place], buy, sell)
        return (buy, sell) if fine else None

    def _told(self, strategy: Strategy) -> Signals | BaseException:
        try:
            return self.signals(strategy)
        except (Exception, SystemExit) as error:  # the strategy's own code: its row says what happened
            return error

    def _read(self, strategy: Strategy) -> tuple[Node, Node] | None:
        """The formulas of buying and selling; None where Polars has to do it, or to say what is wrong."""
        if not isinstance(strategy, VectorStrategy) or type(strategy).judge is not VectorStrategy.judge:
            return None
        try:
            indicators, conditions = strategy.indicators(), (strategy.buy(), strategy.sell())
            used = {name for condition in conditions for name in condition.meta.root_names()}
            names = {name: self._formula(indicators[name]) for name in used if name in indicators}
            buy, sell = (read(condition, names) for condition in conditions)
        except (Exception, SystemExit):  # one by one it shows what
            return None
        return (buy, sell) if buy.condition and sell.condition else None

    def _formula(self, indicator: Indicator) -> Node:
        if indicator not in self._formulas:
            while len(self._formulas) >= REMEMBERED:
                self._formulas.popitem(last=False)
            self._formulas[indicator] = _formula(indicator)
        self._formulas.move_to_end(indicator)
        return self._formulas[indicator]

    def signals(self, strategy: Strategy) -> Signals:
        """What `evaluate` says, by Polars; BadInput in its words for what it refuses."""
        try:
            judged = self._judged(strategy)
        except (Exception, SystemExit):  # of which a single run says what is wrong, and where
            judged = None
        if judged is None:
            judged = evaluate(strategy, self._candles)
        return _padded(judged["buy"]), _padded(judged["sell"])

    def _judged(self, strategy: Strategy) -> pl.DataFrame | None:
        """None where `evaluate` has to judge it, or to refuse it."""
        if not isinstance(strategy, VectorStrategy) or type(strategy).judge is not VectorStrategy.judge:
            return None
        frame = self._candles.with_columns(self._lines(strategy, strategy.indicators()))
        conditions = {"buy": strategy.buy(), "sell": strategy.sell()}
        if not all(isinstance(condition, pl.Expr) for condition in conditions.values()):
            return None
        judged = frame.with_columns(**conditions)
        if not {judged.schema["buy"], judged.schema["sell"]} <= {pl.Boolean, pl.Null}:
            return None
        return judged.select(*flags(strategy.warmup))

    def _lines(self, strategy: Strategy, indicators: Mapping[str, Indicator]) -> list[pl.Series]:
        missing = {name: i for name, i in indicators.items() if i not in self._kept}
        if missing:
            computed = with_indicators(self._candles, missing, strategy.timeframe)
            for name, indicator in missing.items():
                self._kept[indicator] = computed[name]
        columns = []
        for name, indicator in indicators.items():
            self._kept.move_to_end(indicator)
            columns.append(self._kept[indicator].alias(name))
        while len(self._kept) > max(self._most, len(indicators)):
            self._kept.popitem(last=False)
        return columns


def _formula(indicator: Indicator) -> Node:
    """What an indicator computes; itself where only Polars can."""
    from strategies.indicators.base import seeded_ewm, true_range
    from strategies.indicators.trend import supertrend

    if indicator.timeframe is None:
        given: dict[str, Any] = dict(indicator.parameters)
        if indicator.kind == "supertrend" and indicator.expression is supertrend(**given).expression:
            period = given["period"]
            middle = read((pl.col("high") + pl.col("low")) / 2, {})
            span = read(seeded_ewm(true_range(), period, 1 / period), {})
            return Node("follow", (middle, span, column("close")), (given["multiple"],), since=span.since)
        try:
            node = read(indicator.expression, {})
            if not node.condition:
                return clean(node)
        except Unknown:
            pass
    return Node("indicator", numbers=(indicator,))


def _padded(flags: pl.Series) -> Bytes:
    padded = np.zeros((flags.len() + 7) // 8 * 8, np.uint8)
    padded[: flags.len()] = flags.to_numpy()
    return padded


def told(error: BaseException) -> str:
    """An error of a strategy's own code, as a line."""
    if isinstance(error, TcpError):
        return str(error)
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
