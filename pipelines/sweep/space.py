"""The combinations of a sweep, numbered: built when they are needed, so that their count costs no memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from core.errors import BadInput
from pipelines.backtest.execution import Execution
from pipelines.backtest.risk import Risk
from pipelines.sweep.axes import BLOCKS, CONSTANT, Block, Points, axes_of, with_values
from pipelines.sweep.crossings import cannot_look_ahead
from pipelines.sweep.general import told
from pipelines.sweep.grid import parse_values
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.where import Constraint
from strategies.ahead import LooksAhead, refuse_look_ahead
from strategies.base import Strategy, VectorStrategy
from strategies.registry import find

MOST_POINTS = 2**62
MOST_COMBINATIONS = 100_000_000
"""More are not walked one by one; a random search samples any number."""
LOOKS = 3
"""Combinations that are looked at closely, to see whether the strategy looks ahead."""
TRIED = (0, 7, 3, 5, 1, 6, 2, 4)
"""Eighths of the combinations that are tried for it, in this order: those at the ends go first."""
LOOKED_AT = 4_096
"""Combinations that are built to learn how many candles the strategy needs."""


@dataclass(frozen=True)
class Case:
    """One combination: the strategy, its risk block and execution options, or why there is no strategy."""

    point: int
    values: tuple[Any, ...]
    strategy: Strategy | None
    risk: Risk | None = None
    execution: Execution | None = None
    error: str | None = None

    @property
    def plain(self) -> bool:
        """Whether everything is bought and sold at once, on signals alone."""
        return self.risk is None and self.execution is None


@dataclass
class Cases:
    """Combinations that can be walked, and how many the strategy's own rules refused, with a reason."""

    walked: list[Case] = field(default_factory=list)
    refused: int = 0
    reason: BadInput | None = None


class Space:
    """Every combination of a request's grid; the declared ranges of the strategy if it has none.

    Point n has digits in the mixed radix of the axes' lengths, the last axis counting fastest; exits and
    execution options are the last axes, so that combinations which share their signals follow each other.
    """

    def __init__(self, request: SweepRequest) -> None:
        """BadInput for an unknown parameter, a value out of bounds, or a constraint that makes no sense."""
        self.request = request
        self.strategy = find(request.strategy)
        self.axes = axes_of(self.strategy, request)
        self.names = tuple(axis.name for axis in self.axes)
        self.size = prod(len(axis.values) for axis in self.axes)
        if request.search == "grid" and self.size > MOST_COMBINATIONS:
            longest = max(self.axes, key=lambda axis: len(axis.values))
            count, what, named = self.size, "combinations", "grid"
            if len(longest.values) > MOST_COMBINATIONS:
                count, what, named = len(longest.values), "values", longest.name
            raise BadInput(
                named,
                f"has {count:,} {what}; at most {MOST_COMBINATIONS:,} are walked: take longer steps, or "
                "sample it with --search random --trials 10000",
            )
        if self.size > MOST_POINTS:
            raise BadInput("grid", f"has {self.size:,} combinations, more than can be numbered")
        self.fixed = _numbers(request.parameters)
        _check_values(self.strategy.model, {name: [value] for name, value in self.fixed.items()})
        for axis in self.axes:
            model = BLOCKS.get(axis.block, self.strategy.model)
            _check_values(model, {axis.name: _telling(axis.values)})
        if request.fill == "close" and any(axis.block == "execution" for axis in self.axes):
            raise BadInput("fill", "close has no orders that wait: execution options need fill open")
        self.constraints = [
            *(
                Constraint(f"{smaller} < {larger}")
                for smaller, larger in self.strategy.model.ordered
                if smaller in self.names or larger in self.names
            ),
            *(Constraint(text) for text in request.where),
        ]
        self._kept: dict[str, dict[int, Case | BadInput]] = {}
        self.valid(np.zeros(1, np.int64))

    def digits(self, points: Points) -> list[Points]:
        """Of each axis, the position of its value in those points."""
        found: list[Points] = []
        for axis in reversed(self.axes):
            points, at = np.divmod(points, len(axis.values))
            found.append(at)
        return found[::-1]

    def valid(self, points: Points) -> NDArray[np.bool_]:
        """Which points the constraints let through."""
        held = np.ones(points.size, np.bool_)
        if not self.constraints:
            return held
        columns = self._columns(points)
        for constraint in self.constraints:
            held &= constraint.holds(columns, points.size)
        return held

    def _columns(self, points: Points) -> dict[str, Any]:
        """What constraints see of those points: values of the axes they name, and what stays the same."""
        wanted = frozenset[str]().union(*(constraint.names for constraint in self.constraints))
        return self._known() | {
            axis.name: axis.column(at) if axis.name in wanted else at
            for axis, at in zip(self.axes, self.digits(points), strict=True)
        }

    def cases(self, points: Points, timeframe: str, window: int | None = None) -> Cases:
        """Those points, built; what the strategy itself refuses is left out and counted.

        window: candles there are before the first one; a strategy that needs more is an error of its row
        """
        kept = self._kept.setdefault(timeframe, {}) if self.whole else {}
        cases, numbers = Cases(), points.tolist()
        missing = points if not kept else np.array([n for n in numbers if n not in kept], np.int64)
        kept.update(self._built(missing, timeframe, window))
        for number in numbers:
            made = kept[number]
            if isinstance(made, Case):
                cases.walked.append(made)
            else:
                cases.refused, cases.reason = cases.refused + 1, made
        return cases

    def _built(
        self, points: Points, timeframe: str, window: int | None
    ) -> Iterator[tuple[int, Case | BadInput]]:
        """Each point with its case, or why the strategy refuses it."""
        checked = window is not None
        for point, values in zip(points.tolist(), self._values(points), strict=True):
            parts = self._split(values)
            try:
                risk = with_values(self.request.risk, Risk, parts["risk"])
                execution = with_values(self.request.execution, Execution, parts["execution"])
                strategy = self.strategy(timeframe=timeframe, **self.fixed, **parts["parameters"])
                checked = checked or _needs_a_look(strategy)
                if checked and strategy.window > (window or strategy.window):
                    raise LookupError(f"needs {strategy.window} candles before the first, not {window}")
                yield point, _sized(point, values, strategy, risk, execution)
            except BadInput as error:
                yield point, error
            except (Exception, SystemExit) as error:  # the strategy's own code: its row says what happened
                yield point, Case(point, values, None, error=told(error))

    def reach(self, timeframe: str) -> tuple[int, int]:
        """(longest window, shortest warm-up) in candles of all combinations, or of those at the ends of the
        axes where they are too many. BadInput when the strategy refuses all of them."""
        points = self._corners()
        points = points[self.valid(points)]
        cases, found = self.cases(points, timeframe), []
        for case in cases.walked:
            try:
                assert case.strategy is not None
                found.append((case.strategy.window, case.strategy.warmup, case.risk))
            except (Exception, SystemExit):  # noqa: S112 - its row will say so
                continue
        if not cases.walked and self.whole:
            raise self.none_left(cases.reason)
        history = max((risk.history for *_, risk in found if risk), default=0)
        windows, warmups = [window for window, *_ in found], [warmup for _, warmup, _ in found]
        return max([history, *windows]), min(warmups, default=1)

    def none_left(self, reason: BadInput | None = None) -> BadInput:
        """The error of a space in which nothing is valid, with what ruled it out."""
        points = self._corners()
        dropping = [
            rule.text for rule in self.constraints if not rule.holds(self._columns(points), points.size).any()
        ]
        said = f": {reason}" if reason else ""
        if dropping:
            said = f": {' and '.join(dropping)} holds for none of them; take other values"
        return BadInput(
            "grid", f"none of its {self.size:,} combinations is valid for {self.strategy.name}{said}"
        )

    def refuse_look_ahead(self, candles: pl.DataFrame, timeframe: str) -> None:
        """BadInput when one of a few combinations is seen to look ahead on those candles (see
        `strategies.ahead`)."""
        points = self._corners()
        points = points[self.valid(points)]
        some = dict.fromkeys(points[(points.size - 1) * part // TRIED[1]] for part in TRIED if points.size)
        looked = 0
        for case in self.cases(np.array([*some], np.int64), timeframe).walked:
            try:
                if case.strategy is not None:
                    if not cannot_look_ahead(case.strategy):
                        refuse_look_ahead(case.strategy, candles)
                    looked += 1
            except LooksAhead:
                raise
            except (Exception, SystemExit):  # noqa: S112 - its row will say so
                continue
            if looked == LOOKS:
                return

    @property
    def whole(self) -> bool:
        """Whether `reach` has looked at every combination."""
        return self.size <= LOOKED_AT

    @property
    def plain(self) -> bool:
        """Whether no combination has a risk block or execution options."""
        constant = self.request.risk is None and self.request.execution is None
        return constant and all(axis.block == "parameters" for axis in self.axes)

    def _values(self, points: Points) -> Iterator[tuple[Any, ...]]:
        columns = [
            [axis.values[n] for n in at.tolist()]
            for axis, at in zip(self.axes, self.digits(points), strict=True)
        ]
        return zip(*columns, strict=True)

    def blocks(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], Risk | None, Execution | None]:
        """(parameters, risk block, execution options) of a combination given by name, what stays the same
        included; BadInput where they do not go together."""
        parts = self._split(tuple(values[name] for name in self.names))
        risk = with_values(self.request.risk, Risk, parts["risk"])
        execution = with_values(self.request.execution, Execution, parts["execution"])
        return self.fixed | parts["parameters"], risk, execution

    def constant(self) -> dict[str, Any]:
        """The strategy's parameters that stay the same, by value or default; None is left out."""
        own = {name: given.default for name, given in self.strategy.model.model_fields.items()}
        found = {name: value for name, value in (own | self.fixed).items() if name not in self.names}
        return {name: value for name, value in found.items() if value not in (None, PydanticUndefined)}

    def _split(self, values: tuple[Any, ...]) -> dict[Block, dict[str, Any]]:
        parts: dict[Block, dict[str, Any]] = {"parameters": {}, "risk": {}, "execution": {}}
        for axis, value in zip(self.axes, values, strict=True):
            parts[axis.block][axis.name] = value
        return parts

    def _known(self) -> dict[str, Any]:
        """What constraints can name beside the axes: parameters that stay the same, by value or default."""
        known = {name: given.default for name, given in self.strategy.model.model_fields.items()}
        for block in (self.request.risk, self.request.execution):
            common = block.model_dump(exclude_unset=True, exclude={*CONSTANT}) if block else {}
            known |= {name: _plain(value) for name, value in common.items()}
        return {name: np.nan if value is None else value for name, value in (known | self.fixed).items()}

    def _corners(self) -> Points:
        if self.whole:
            return np.arange(self.size, dtype=np.int64)
        ends = [sorted({0, len(axis.values) // 2, len(axis.values) - 1}) for axis in self.axes]
        while prod(len(end) for end in ends) > LOOKED_AT:
            ends[max(range(len(ends)), key=lambda n: len(ends[n]))].pop(0)
        points = np.zeros(1, np.int64)
        for axis, end in zip(self.axes, ends, strict=True):
            points = (points[:, None] * len(axis.values) + np.array(end, np.int64)).ravel()
        return points


def _numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: parse_values(name, value)[0] if isinstance(value, str) and ":" not in value else value
        for name, value in given.items()
    }


def _telling(values: Sequence[Any]) -> Sequence[Any]:
    """Values that are out of bounds or of the wrong kind if any of them is: the ends of a range, and its
    second, which has its fractions."""
    return values if isinstance(values, list) else [values[0], values[min(1, len(values) - 1)], values[-1]]


def _check_values(model: type[BaseModel], given: Mapping[str, Sequence[Any]]) -> None:
    """BadInput for a value that is wrong whatever the other parameters are."""
    for name, values in given.items():
        for value in values:
            try:
                model.model_validate({name: value})
            except ValidationError as error:
                wrong = [found for found in error.errors() if found["loc"][:1] == (name,)]
                if wrong:
                    raise _out_of_bounds(model, name, wrong[0]) from None


def _out_of_bounds(model: type[BaseModel], name: str, found: Any) -> BadInput:
    if found["type"] == "extra_forbidden":
        return BadInput(name, f"no such parameter; there are {', '.join(model.model_fields)}")
    message = str(found["msg"]).replace("Input should be", "must be").removeprefix("Value error, ")
    return BadInput(name, f"{message}, got {found['input']!r}")


def _sized(
    point: int, values: tuple[Any, ...], strategy: Strategy, risk: Risk | None, execution: Execution | None
) -> Case:
    """The case with the sizes that the strategy wants; what is wrong with them is the error of its row."""
    try:
        return Case(point, values, strategy, Risk.sized(risk, strategy), execution)
    except BadInput as error:
        return Case(point, values, None, error=told(error))


def _needs_a_look(strategy: Strategy) -> bool:
    """Whether only its window tells if the timeframe suits it."""
    if not isinstance(strategy, VectorStrategy):
        return True
    return any(indicator.timeframe is not None for indicator in strategy.lines.values())


def _plain(value: Any) -> Any:
    return float(value) if hasattr(value, "as_tuple") else value
