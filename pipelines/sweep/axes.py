"""The axes of a space: what varies, where in a request it belongs, and its values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from core.errors import BadInput
from core.metrics import METRICS
from pipelines.backtest.execution import Execution
from pipelines.backtest.risk import Risk
from pipelines.sweep.grid import Span, parse_values
from pipelines.sweep.request import SweepRequest
from strategies.base import Strategy

Points = NDArray[np.int64]
Block = Literal["parameters", "risk", "execution"]
BLOCKS: dict[Block, type[BaseModel]] = {"risk": Risk, "execution": Execution}
"""What can vary beside the strategy's own parameters."""
CONSTANT = ("fee_tiers", "intrabar")
"""Execution options that a sweep takes, but does not vary."""
RESERVED = frozenset((*METRICS, "n", "point", "symbol", "timeframe", "error"))
"""Columns of a result that are no parameters."""

B = TypeVar("B", Risk, Execution)


@dataclass(frozen=True)
class Axis:
    """A parameter and its values; dtype: of its column in the result; block: of the request that it is in."""

    name: str
    values: Sequence[Any]
    dtype: type[pl.DataType]
    block: Block = "parameters"

    def column(self, at: Points) -> NDArray[Any]:
        """The values at those positions, for constraints: numbers (nan where not set) or text."""
        if isinstance(self.values, Span):
            return self.values.take(at)
        texts = any(isinstance(value, str) for value in self.values)
        blank: Any = "" if texts else np.nan
        return np.array([blank if value is None else value for value in self.values])[at]


def declared(strategy: type[Strategy]) -> dict[str, str]:
    """The ranges worth trying that the strategy itself declares, as a grid."""
    ranges: dict[str, str] = {}
    for name, given in strategy.model.model_fields.items():
        extra = given.json_schema_extra
        search: Any = extra.get("search") if isinstance(extra, dict) else None
        if search:
            ranges[name] = ":".join(f"{search[part]:.15g}" for part in ("start", "stop", "step"))
    return ranges


def axes_of(strategy: type[Strategy], request: SweepRequest) -> tuple[Axis, ...]:
    """The axes of a request's grid: the strategy's parameters, then exits, then execution options. BadInput
    for a name that is none of them, or that is fixed as well."""
    grid: Mapping[str, Any] = request.grid or {
        name: values for name, values in declared(strategy).items() if name not in request.parameters
    }
    if not grid:
        raise BadInput(
            "grid", f"is empty and {strategy.name} declares no ranges: name one, such as fast_period=5:50:5"
        )
    blocks = [block for block in (request.risk, request.execution) if block]
    both = set(grid) & {*request.parameters, *(name for block in blocks for name in block.model_fields_set)}
    if both:
        raise BadInput(min(both), "is both in the grid and fixed")
    axes = []
    for name, given in grid.items():
        values, (block, described) = parse_values(name, given), _field(strategy, name)
        if name in RESERVED:
            raise BadInput(name, "is a column of every result as well: give it as an option, not in the grid")
        axes.append(Axis(name, values, _dtype(described.annotation), block))
    order: list[Block] = ["parameters", *BLOCKS]
    return tuple(sorted(axes, key=lambda axis: order.index(axis.block)))


def _field(strategy: type[Strategy], name: str) -> tuple[Block, FieldInfo]:
    """Where a name of the grid belongs; the strategy's own parameters go first."""
    models: dict[Block, type[BaseModel]] = {"parameters": strategy.model, **BLOCKS}
    for block, model in models.items():
        if name in model.model_fields and not (block == "execution" and name in CONSTANT):
            return block, model.model_fields[name]
    if name in CONSTANT:
        raise BadInput(name, "stays the same throughout a sweep: give it as an option, not in the grid")
    known = [field for model in models.values() for field in model.model_fields if field not in CONSTANT]
    raise BadInput(name, f"{strategy.name} has no such parameter; there are {', '.join(known)}")


def with_values(common: B | None, model: type[B], values: Mapping[str, Any]) -> B | None:
    """A block of the request with a combination's values over it; None where it changes nothing."""
    if not values:
        return common
    fixed = common.model_dump(exclude_unset=True) if common else {}
    given = {name: value for name, value in {**fixed, **values}.items() if value is not None}
    if not given:
        return None
    try:
        made = model.model_validate(given)
    except ValidationError as error:
        message = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        named, bar, rest = message.partition("|")
        raise BadInput(named if bar else model.__name__.lower(), rest if bar else message) from None
    return None if isinstance(made, Execution) and made == Execution() else made


def _dtype(annotation: Any) -> type[pl.DataType]:
    kinds = {annotation, *get_args(annotation)}
    if bool in kinds:
        return pl.Boolean
    if kinds & {float, Decimal}:
        return pl.Float64
    return pl.Int64 if int in kinds else pl.String
