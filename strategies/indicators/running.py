"""What streaming indicators are made of: each takes a value at a time and answers with one, or None before it
has seen enough. None goes in where there is no value yet, and is passed over."""

from collections import deque
from collections.abc import Callable
from math import fsum


def settled(value: float) -> float:
    """Rounded to 41 bits, as `strategies.indicators.base.settled`."""
    scaled = value * (2.0**12 + 1)
    return scaled - (scaled - value)


class Window:
    """A function of the last `period` values, oldest first."""

    def __init__(self, period: int, of: Callable[[deque[float]], float]) -> None:
        self._values: deque[float] = deque(maxlen=period)
        self._of = of

    def push(self, value: float | None) -> float | None:
        """Take a value in."""
        if value is not None:
            self._values.append(value)
        return self._of(self._values) if len(self._values) == self._values.maxlen else None


class Smooth:
    """m += alpha·(x − m) from the first value, or the mean of the first `period`; None before `period`."""

    def __init__(self, alpha: float, period: int, seed: str = "mean") -> None:
        self._alpha, self._period, self._from_mean = alpha, period, seed == "mean"
        self._first: list[float] = []
        self._mean: float | None = None
        self._seen = 0

    def push(self, value: float | None) -> float | None:
        """Take a value in."""
        if value is None:
            return self._mean if self._seen >= self._period else None
        self._seen += 1
        if self._mean is not None:
            self._mean += self._alpha * (value - self._mean)
        elif not self._from_mean:
            self._mean = value
        else:
            self._first.append(value)
            if self._seen == self._period:
                self._mean = mean_of(self._first)
        return self._mean if self._seen >= self._period else None


class Before:
    """The value before; None at the first."""

    def __init__(self) -> None:
        self._last: float | None = None

    def push(self, value: float) -> float | None:
        """Take a value in, hand the one before out."""
        before, self._last = self._last, value
        return before


def mean_of(values: deque[float] | list[float]) -> float:
    """Their mean; the value itself where all are the same."""
    return values[0] if min(values) == max(values) else fsum(values) / len(values)


def deviation_of(values: deque[float], less: int = 0) -> float:
    """Their standard deviation over their number less `less`; exactly 0 where all are the same."""
    if min(values) == max(values):
        return 0.0
    middle = mean_of(values)
    return float((fsum((value - middle) ** 2 for value in values) / (len(values) - less)) ** 0.5)


def mean(period: int) -> Window:
    """Running mean."""
    return Window(period, mean_of)


def highest(period: int) -> Window:
    """Running maximum."""
    return Window(period, max)


def lowest(period: int) -> Window:
    """Running minimum."""
    return Window(period, min)


def total(period: int) -> Window:
    """Running sum."""
    return Window(period, fsum)
