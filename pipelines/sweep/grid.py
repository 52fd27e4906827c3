"""How the values of a parameter are written: `start:stop:step`, `a,b,c`, or a list."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from core.errors import BadInput

MOST_VALUES = 10**15
"""Values of one range; so many that only a random search makes sense of them."""
FINEST = 15
"""Decimal places of a range that are exact."""


@dataclass(frozen=True)
class Span(Sequence[int | float]):
    """The numbers (first + n · step) / scale, n < length: a range of any length that takes no memory.

    Dividing two whole numbers gives the float that is nearest to the decimal that was written.
    """

    first: int
    step: int
    scale: int
    length: int

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, n: int) -> int | float: ...
    @overload
    def __getitem__(self, n: slice) -> Sequence[int | float]: ...
    def __getitem__(self, n: int | slice) -> int | float | Sequence[int | float]:
        if isinstance(n, slice):
            return [self[k] for k in range(*n.indices(self.length))]
        if not -self.length <= n < self.length:
            raise IndexError(n)
        value = self.first + (n % self.length) * self.step
        return value if self.scale == 1 else value / self.scale

    def take(self, at: NDArray[np.int64]) -> NDArray[Any]:
        """The values at those positions."""
        if max(abs(self.first), abs(self.first + self.length * self.step), self.scale) >= 2**53:
            return np.array([self[n] for n in at.tolist()])
        values = self.first + at * self.step
        return values if self.scale == 1 else values / self.scale


def parse_values(name: str, given: Sequence[Any] | str) -> Sequence[Any]:
    """The values of one parameter: a list as it is; `start:stop:step` with stop included where it is hit;
    `a,b,c`. `none` is None. BadInput when there are none or too many."""
    if isinstance(given, str) and ":" in given:
        return _range(name, given)
    parts = given.split(",") if isinstance(given, str) else given
    values = [_plain(part) if isinstance(part, str) else part for part in parts]
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


def _range(name: str, text: str) -> Span:
    try:
        parts = [Decimal(part) for part in text.split(":")]
    except InvalidOperation:
        raise BadInput(name, f"{text!r} is not start:stop:step of numbers") from None
    if len(parts) not in (2, 3):
        raise BadInput(name, f"{text!r} is not start:stop:step")
    start, stop = parts[0], parts[1]
    step = parts[2] if len(parts) == 3 else Decimal(1)
    if not all(_usual(part) for part in parts) or step <= 0 or stop < start:
        raise BadInput(name, f"{text!r} needs start <= stop and a step above 0, none beyond 10^15 or 10^-15")
    places = max(0, *(-int(part.normalize().as_tuple().exponent) for part in (start, step)))
    scale = 10**places
    first, wide = int(start * scale), int(step * scale)
    count = (int((stop * scale).to_integral_value(ROUND_FLOOR)) - first) // wide + 1
    if count > MOST_VALUES:
        raise BadInput(name, f"{text!r} is {count:,} values; at most {MOST_VALUES:,} make a range")
    return Span(first, wide, scale, count)


def _plain(text: str) -> Any:
    """A number where it is one, None for `none`, else the text."""
    text = text.strip()
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None if text.lower() == "none" else text
    if not _usual(number):
        return text
    return int(number) if number == number.to_integral_value() else float(number)


def _usual(number: Decimal) -> bool:
    """Whether it is finite and of a size that its arithmetic is exact in."""
    return number.is_finite() and (number == 0 or abs(number.adjusted()) <= FINEST)
