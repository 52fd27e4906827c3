"""The combinations of a grid, and which of them a strategy accepts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import product
from math import prod
from typing import Any

from core.errors import BadInput
from strategies.base import Strategy
from strategies.registry import build, find

MOST_COMBINATIONS = 1_000_000
"""More would take days and its result would not fit in memory; split the grid instead."""


@dataclass(frozen=True)
class Grid:
    """names: the parameters varied; strategies: one for each valid combination; skipped: combinations that
    the strategy's own order of parameters rules out, such as fast_period >= slow_period."""

    names: tuple[str, ...]
    strategies: list[Strategy]
    skipped: int


def expand(
    strategy: str, grid: Mapping[str, list[Any] | str], fixed: Mapping[str, Any], timeframe: str
) -> Grid:
    """Every combination, built. BadInput for an unknown parameter, a value out of bounds, no combination at
    all, or more than `MOST_COMBINATIONS`."""
    if not grid:
        raise BadInput("grid", "is empty: name at least one parameter, such as fast_period=5:50:5")
    both = set(grid) & set(fixed)
    if both:
        raise BadInput(min(both), "is both in the grid and fixed")
    values = {name: parse_values(name, given) for name, given in grid.items()}
    size = prod(len(choices) for choices in values.values())
    if size > MOST_COMBINATIONS:
        raise BadInput("grid", f"has {size:,} combinations; at most {MOST_COMBINATIONS:,} are run at once")
    model = find(strategy).model
    fixed = {name: _number(value) if isinstance(value, str) else value for name, value in fixed.items()}
    built, skipped = [], 0
    for combination in _combinations(values):
        if _out_of_order(model.ordered, combination, fixed, model.model_fields):
            skipped += 1
            continue
        built.append(build(strategy, {**fixed, **combination}, timeframe))
    if not built:
        raise BadInput("grid", f"none of its {size:,} combinations is valid for {strategy}")
    return Grid(tuple(values), built, skipped)


def parse_values(name: str, given: list[Any] | str) -> list[Any]:
    """The values of one parameter: a list as it is; `start:stop:step` with stop included where it is hit;
    `a,b,c`. BadInput when there are none or too many."""
    values: list[Any]
    if isinstance(given, str):
        values = _range(name, given) if ":" in given else [_number(part) for part in given.split(",")]
    else:
        values = list(given)
    if not values or "" in values:
        raise BadInput(name, f"{given!r} has no values; write start:stop:step or a,b,c")
    return list(dict.fromkeys(values))


def parse_arguments(texts: Sequence[str]) -> dict[str, str]:
    """Each `name=values` of the command line; BadInput when one is not of that form or a name comes twice."""
    grid: dict[str, str] = {}
    for text in texts:
        name, _, values = (part.strip() for part in text.partition("="))
        if not name or not values:
            raise BadInput("--grid", f"{text!r} is not NAME=start:stop:step or NAME=a,b,c")
        if name in grid:
            raise BadInput("--grid", f"{name} is given twice")
        grid[name] = values
    return grid


def _range(name: str, text: str) -> list[Any]:
    try:
        parts = [Decimal(part) for part in text.split(":")]
    except InvalidOperation:
        raise BadInput(name, f"{text!r} is not start:stop:step of numbers") from None
    if len(parts) not in (2, 3):
        raise BadInput(name, f"{text!r} is not start:stop:step")
    start, stop = parts[0], parts[1]
    step = parts[2] if len(parts) == 3 else Decimal(1)
    if not all(_usual(part) for part in parts) or step <= 0 or stop < start:
        raise BadInput(name, f"{text!r} needs start <= stop and a step above 0, none beyond 10^18 or 10^-18")
    count = int((stop - start) / step) + 1
    if count > MOST_COMBINATIONS:
        raise BadInput(name, f"{text!r} is {count:,} values; at most {MOST_COMBINATIONS:,} are run at once")
    return [_plain(start + step * n) for n in range(count)]


def _number(text: str) -> Any:
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return text.strip()
    return _plain(number) if _usual(number) else text.strip()


def _usual(number: Decimal) -> bool:
    """Whether it is finite and of a size that its arithmetic is exact in."""
    return number.is_finite() and (number == 0 or abs(number.adjusted()) <= 18)


def _plain(number: Decimal) -> int | float:
    return int(number) if number == number.to_integral_value() else float(number)


def _combinations(values: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for chosen in product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


def _out_of_order(
    ordered: tuple[tuple[str, str], ...], chosen: Mapping[str, Any], fixed: Mapping[str, Any], fields: Any
) -> bool:
    def value(name: str) -> Any:
        return chosen.get(name, fixed.get(name, fields[name].default))

    for smaller, larger in ordered:
        if smaller in chosen or larger in chosen:
            low, high = value(smaller), value(larger)
            if isinstance(low, int | float) and isinstance(high, int | float) and low >= high:
                return True
    return False
