"""The price at every day boundary: a seeded tree over the whole history, read at any day in O(log days).

Midpoint displacement of a Brownian path between two fixed ends. The displacement of the long intervals is
damped, so that a price that wandered for decades still lies in a realistic band around its level.
"""

import math
from functools import lru_cache
from statistics import NormalDist

# 2018-01-01 to 2062: 2^14 days
FIRST_DAY = 17_532
LEVELS = 14
_DAMPED_ABOVE_DAYS = 64
_MASK = (1 << 64) - 1
_NORMAL = NormalDist()


def mix(*numbers: int) -> int:
    """64 well-mixed bits of some integers (splitmix64), the same on every machine and in every process."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def uniform(*numbers: int) -> float:
    """A number in (0, 1) that depends on the integers only."""
    return ((mix(*numbers) >> 11) + 0.5) / (1 << 53)


class PricePath:
    """Log price at the start of each day of [FIRST_DAY, FIRST_DAY + 2^14]."""

    def __init__(self, key: int, price: float, volatility: float) -> None:
        self._key = key
        self._level = math.log(price)
        self._daily = volatility / math.sqrt(365)
        self._node = lru_cache(maxsize=65_536)(self._displaced)

    def at_day(self, day: int) -> float:
        """Natural log of the price at 00:00 UTC of a day (days since 1970); clamped to the span's ends."""
        return self._node(min(max(day - FIRST_DAY, 0), 1 << LEVELS))

    def _displaced(self, offset: int) -> float:
        if offset in (0, 1 << LEVELS):
            return self._level + 0.1 * _NORMAL.inv_cdf(uniform(self._key, 1, offset))
        step = offset & -offset
        ends = self._node(offset - step) + self._node(offset + step)
        scale = self._daily * math.sqrt(min(2 * step, _DAMPED_ABOVE_DAYS)) / 2
        return ends / 2 + scale * _NORMAL.inv_cdf(uniform(self._key, 2, offset))
