"""Typed parameters of a strategy: bounds, defaults, descriptions, search space, order between them."""

import re
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import BadInput

RISK_DESCRIPTION = (
    "Fraction of equity that a position may lose at its stop: the size of a buy when a backtest or sweep is "
    "told to size by risk (--sizing risk) and given no --size. Signals do not depend on it, other sizings do "
    "not use it, and a bot buys what its risk block allows."
)


class Parameters(BaseModel):
    """Base of every strategy's parameters. Unknown names are errors; values never change after validation.

    ordered: pairs (smaller, larger) that must differ in that order, such as a fast and a slow period
    risk_percentage: common to all strategies; see its description
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
    ordered: ClassVar[tuple[tuple[str, str], ...]] = ()

    risk_percentage: float | None = Field(None, gt=0, le=1, description=RISK_DESCRIPTION)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for smaller, larger in self.ordered:
            low, high = getattr(self, smaller), getattr(self, larger)
            if low >= high:
                raise ValueError(f"{smaller}|must be less than {larger} ({high}), got {low}")
        return self


def parameter(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    search: tuple[float, float, float] | None = None,
) -> Any:
    """A field of a `Parameters` class.

    low, high: inclusive bounds; search: (start, stop, step) of the range worth trying in a sweep, inclusive
    """
    extra: Any = {"search": dict(zip(("start", "stop", "step"), search, strict=True))} if search else None
    return Field(default, description=description, ge=low, le=high, json_schema_extra=extra)


def validate(model: type[Parameters], values: dict[str, Any], owner: str) -> Parameters:
    """Values as that model; BadInput names the first wrong parameter of `owner` and what it should be."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise _as_bad_input(model, first, owner) from None


def _as_bad_input(model: type[Parameters], error: Any, owner: str) -> BadInput:
    field = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = ", ".join(model.model_fields)
        return BadInput(field, f"{owner} has no such parameter; it has {known}")
    if error["type"] == "value_error":
        ordered, _, message = str(error["ctx"]["error"]).partition("|")
        return BadInput(ordered, message) if message else BadInput(field or owner, ordered)
    message = re.sub(r"^Input should be", "must be", error["msg"])
    return BadInput(field, f"{message}, got {error['input']!r}")
