"""The exchange's candle lengths (`bar`): their names, and where their candles open.

6H and longer come in two families: plain names open at UTC+8 midnights, names ending in `utc` at UTC ones.
"""

import datetime
from dataclasses import dataclass

import numpy as np

from pipelines.exchanges.sim.days import Ints

_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000
_HONG_KONG_MS = -8 * _HOUR
_MONDAY_MS = 4 * _DAY  # 1970-01-05


@dataclass(frozen=True)
class Bar:
    """A candle length. ms: its length (0 for months); origin_ms: an instant at which one opens."""

    name: str
    ms: int
    origin_ms: int = 0
    months: int = 0

    def index(self, at_ms: int) -> int:
        """The running number of the candle that holds an instant."""
        if not self.months:
            return (at_ms - self.origin_ms) // self.ms
        local = datetime.datetime.fromtimestamp((at_ms - self.origin_ms) // 1000, datetime.UTC)
        return (local.year * 12 + local.month - 1) // self.months

    def open_ms(self, index: int) -> int:
        """Open time of the candle of that number; that of the next is its close."""
        if not self.months:
            return self.origin_ms + index * self.ms
        year, month = divmod(index * self.months, 12)
        first = datetime.datetime(year, month + 1, 1, tzinfo=datetime.UTC)
        return int(first.timestamp()) * 1000 + self.origin_ms

    def opens(self, first: int, last: int) -> Ints:
        """Open times of the candles numbered first … last."""
        if not self.months:
            return self.origin_ms + np.arange(first, last + 1, dtype=np.int64) * self.ms
        return np.array([self.open_ms(index) for index in range(first, last + 1)], np.int64)


def _all_bars() -> dict[str, Bar]:
    bars = {"1s": Bar("1s", _SECOND)}
    bars |= {f"{n}m": Bar(f"{n}m", n * _MINUTE) for n in (1, 3, 5, 15, 30)}
    bars |= {f"{n}H": Bar(f"{n}H", n * _HOUR) for n in (1, 2, 4)}
    for suffix, shift in (("", _HONG_KONG_MS), ("utc", 0)):
        for hours in (6, 12):
            bars[f"{hours}H{suffix}"] = Bar(f"{hours}H{suffix}", hours * _HOUR, shift)
        for days in (1, 2, 3, 5):
            bars[f"{days}D{suffix}"] = Bar(f"{days}D{suffix}", days * _DAY, shift)
        bars[f"1W{suffix}"] = Bar(f"1W{suffix}", 7 * _DAY, _MONDAY_MS + shift)
        for months in (1, 3):
            bars[f"{months}M{suffix}"] = Bar(f"{months}M{suffix}", 0, shift, months)
    return bars


BARS = _all_bars()
