"""What has been traded up to an instant: matches and candles of a source, in pages, with days cached."""

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import numpy as np

from pipelines.exchanges.sim import days
from pipelines.exchanges.sim.bars import Bar
from pipelines.exchanges.sim.days import DAY_MS, MINUTE_MS, Candles, DayTrades, Ints
from pipelines.exchanges.sim.specs import SymbolSpec

HOUR_MS = 3_600_000
_CACHED_DAYS = 20  # of trades: about 3 MB each for the busiest symbol
_CACHED_MINUTES = 400  # days of 1m candles, 92 kB each
_CACHED_HOURS = 30_000  # days of 1h candles, 1.5 kB each


class Source(Protocol):
    """Where matches come from: the market model, or recorded files."""

    specs: dict[str, SymbolSpec]

    def first_ms(self, symbol: str) -> int:
        """When its history begins."""
        ...

    def natural_start_ms(self) -> int | None:
        """Virtual time to start at when none is chosen; None for the wall's."""
        ...

    def end_ms(self) -> int:
        """When nothing happens any more; at speed max virtual time stops there."""
        ...

    def day(self, symbol: str, day: int) -> DayTrades:
        """All matches of a UTC day (days since 1970)."""
        ...

    def day_of_id(self, symbol: str, trade_id: int) -> int:
        """The day in which a trade id falls; the nearest one for an id that does not exist."""
        ...


class History:
    """Reads a source as of an instant `now_ms`; nothing later is ever shown."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.specs = source.specs
        self.day = lru_cache(_CACHED_DAYS)(source.day)
        self._minutes_of = lru_cache(_CACHED_MINUTES)(self._minutes_of_day)
        self._hours_of = lru_cache(_CACHED_HOURS)(self._hours_of_day)

    def newest_trades(
        self,
        symbol: str,
        now_ms: int,
        limit: int,
        below_id: int | None = None,
        above_id: int | None = None,
        below_ms: int | None = None,
    ) -> DayTrades:
        """The newest matches, at most `limit`, oldest first; `below_*` and `above_*` exclude their value."""
        until_ms = now_ms if below_ms is None else min(now_ms, below_ms - 1)
        day = until_ms // DAY_MS
        if below_id is not None:
            day = min(day, self.source.day_of_id(symbol, below_id - 1))
        first_day = self.source.first_ms(symbol) // DAY_MS
        parts: list[DayTrades] = []
        missing = limit
        while missing > 0 and day >= first_day:
            trades = self.day(symbol, day)
            stop = trades.until(until_ms)
            if below_id is not None:
                stop = min(stop, int(np.searchsorted(trades.ids, below_id)))
            start = 0 if above_id is None else int(np.searchsorted(trades.ids, above_id, side="right"))
            parts.append(trades.part(max(start, stop - missing), max(start, stop)))
            missing -= len(parts[-1])
            if start > 0:
                break
            day -= 1
        return days.join_trades(parts[::-1])

    def last_price(self, symbol: str, before_day: int) -> int:
        """Ticks of the last match before a day; that of the first one ever, if there is none before."""
        first_day = self.source.first_ms(symbol) // DAY_MS
        for day in range(before_day - 1, first_day - 1, -1):
            trades = self.day(symbol, day)
            if len(trades):
                return int(trades.price[-1])
        first = self.day(symbol, first_day)
        return int(first.price[0]) if len(first) else 1

    def page_opens(
        self,
        symbol: str,
        bar: Bar,
        now_ms: int,
        limit: int,
        below_ms: int | None = None,
        above_ms: int | None = None,
    ) -> Ints:
        """Open times of the newest candles opened up to now, at most `limit`, oldest first.

        below_ms, above_ms: bounds of the open time, excluded
        """
        first_ms = self.source.first_ms(symbol)
        until_ms = now_ms if below_ms is None else min(now_ms, below_ms - 1)
        if until_ms < first_ms // MINUTE_MS * MINUTE_MS:
            return np.zeros(0, np.int64)
        last = bar.index(until_ms)
        first = max(last - limit + 1, bar.index(first_ms))
        if above_ms is not None:
            first = max(first, bar.index(above_ms) + 1)
        return bar.opens(first, last)

    def candles(self, symbol: str, bar: Bar, opens: Ints, now_ms: int) -> Candles:
        """The candles of a bar that open at `opens` (without holes), as of now.

        The last one may still be running: it then holds what was traded up to now.
        """
        if not len(opens) or now_ms < self.source.first_ms(symbol) // MINUTE_MS * MINUTE_MS:
            nothing = np.zeros(0, np.int64)
            return Candles(*(nothing for _ in range(8)))
        start, end = self._span(symbol, bar, opens, now_ms)
        read = self._reader(bar)
        parts = [read(symbol, day, now_ms) for day in range(start // DAY_MS, (end - 1) // DAY_MS + 1)]
        smaller = days.join(parts)
        first, stop = np.searchsorted(smaller.open_ms, (start, end))
        return days.roll_up(smaller.part(int(first), int(stop)), opens)

    def cold_days(self, symbol: str, bar: Bar, opens: Ints, now_ms: int) -> range:
        """The days that `candles` will read; `warm` each of them first to spread the work."""
        if not len(opens):
            return range(0)
        start, end = self._span(symbol, bar, opens, now_ms)
        return range(start // DAY_MS, (end - 1) // DAY_MS + 1)

    def warm(self, symbol: str, bar: Bar, day: int) -> None:
        """Produce what the candles of a bar need of a day."""
        if self._reader(bar) == self.hours:
            self._hours_of(symbol, day)
        else:
            self._minutes_of(symbol, day)

    def _span(self, symbol: str, bar: Bar, opens: Ints, now_ms: int) -> tuple[int, int]:
        """From the first open, or the beginning of history, to the last close or now."""
        first = self.source.first_ms(symbol) // MINUTE_MS * MINUTE_MS
        end = bar.open_ms(bar.index(int(opens[-1])) + 1)
        return max(int(opens[0]), first), min(end, now_ms + 1)

    def _reader(self, bar: Bar) -> Callable[[str, int, int], Candles]:
        if bar.ms and bar.ms < MINUTE_MS:
            return self._seconds
        return self.hours if not bar.ms or bar.ms % HOUR_MS == 0 else self.minutes

    def minutes(self, symbol: str, day: int, now_ms: int) -> Candles:
        """1m candles of a day up to the running one, as of now."""
        if now_ms >= (day + 1) * DAY_MS:
            return self._minutes_of(symbol, day)
        minute = now_ms // MINUTE_MS * MINUTE_MS
        whole = self._minutes_of(symbol, day).part(None, (minute - day * DAY_MS) // MINUTE_MS)
        trades = self.day(symbol, day)
        start, stop = trades.until(minute - 1), trades.until(now_ms)
        close = int(whole.close[-1]) if len(whole) else self.last_price(symbol, day)
        running = days.from_trades(trades.part(start, stop), np.array([minute]), close)
        return days.join([whole, running])

    def hours(self, symbol: str, day: int, now_ms: int) -> Candles:
        """1h candles of a day up to the running one, as of now."""
        if now_ms >= (day + 1) * DAY_MS:
            return self._hours_of(symbol, day)
        minutes = self.minutes(symbol, day, now_ms)
        return days.roll_up(minutes, np.unique(minutes.open_ms // HOUR_MS) * HOUR_MS)

    def _seconds(self, symbol: str, day: int, now_ms: int) -> Candles:
        stop = min((day + 1) * DAY_MS, now_ms + 1)
        opens = np.arange(day * DAY_MS, stop, 1_000, dtype=np.int64)
        trades = self.day(symbol, day)
        return days.from_trades(trades.part(0, trades.until(now_ms)), opens, self.last_price(symbol, day))

    def _minutes_of_day(self, symbol: str, day: int) -> Candles:
        return self._whole_day(symbol, day, MINUTE_MS)

    def _hours_of_day(self, symbol: str, day: int) -> Candles:
        return self._whole_day(symbol, day, HOUR_MS)

    def _whole_day(self, symbol: str, day: int, length_ms: int) -> Candles:
        trades = self.day(symbol, day)
        opens = np.arange(day * DAY_MS, (day + 1) * DAY_MS, length_ms, dtype=np.int64)
        begins_late = not len(trades) or trades.ts[0] >= opens[1]
        return days.from_trades(trades, opens, self.last_price(symbol, day) if begins_late else 0)
