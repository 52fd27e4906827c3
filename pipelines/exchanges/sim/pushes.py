"""Which trades the sockets bring in a stretch of virtual time: as they happen, or as faults delay them."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from pipelines.exchanges.sim.days import DAY_MS, DayTrades, Ints
from pipelines.exchanges.sim.delays import NEVER, Delays
from pipelines.exchanges.sim.history import History

_CACHED_DAYS = 20


class Pushes:
    """Both methods yield (the trades of a day, places in them) of what is pushed after `before_ms` up to
    and including `now_ms`."""

    def __init__(self, history: History, delays: Delays) -> None:
        self._history = history
        self._delays = delays
        self._order = lru_cache(_CACHED_DAYS)(self._order_of_day)

    def matches(self, symbol: str, before_ms: int, now_ms: int) -> Iterator[tuple[DayTrades, slice | Ints]]:
        """Single matches: places in the day's trades."""
        for day, trades in self._days(symbol, before_ms, now_ms):
            if self._delays.moves_pushes:
                yield trades, self._delayed(symbol, day, False, before_ms, now_ms)
            else:
                yield trades, slice(trades.until(before_ms), trades.until(now_ms))

    def aggregates(
        self, symbol: str, before_ms: int, now_ms: int
    ) -> Iterator[tuple[DayTrades, slice | Ints]]:
        """Matches joined per taker order and price: places in the day's aggregates."""
        for day, trades in self._days(symbol, before_ms, now_ms):
            if self._delays.moves_pushes:
                yield trades, self._delayed(symbol, day, True, before_ms, now_ms)
            else:
                ends = (trades.until(before_ms), trades.until(now_ms))
                first, stop = np.searchsorted(trades.aggregates.last, ends)
                yield trades, slice(int(first), int(stop))

    def _days(self, symbol: str, before_ms: int, now_ms: int) -> Iterator[tuple[int, DayTrades]]:
        for day in range((before_ms - self._delays.late_ms) // DAY_MS, now_ms // DAY_MS + 1):
            yield day, self._history.day(symbol, day)

    def _delayed(self, symbol: str, day: int, joined: bool, before_ms: int, now_ms: int) -> Ints:
        times, order = self._order(symbol, day, joined, self._delays.version)
        first, stop = np.searchsorted(times, (before_ms, now_ms), side="right")
        return order[int(first) : int(stop)]

    def _order_of_day(self, symbol: str, day: int, joined: bool, version: int) -> tuple[Ints, Ints]:
        """(times of pushing, rising; which place each belongs to). version: of the delays, for the cache"""
        trades = self._history.day(symbol, day)
        times = self._delays.pushed_ms(symbol, trades.ts[trades.aggregates.last] if joined else trades.ts)
        order = np.argsort(times, kind="stable")
        order = order[: int(np.searchsorted(times[order], NEVER))]
        return times[order], order
