"""A UTC day of one symbol: its matches and its candles, as integer arrays."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

DAY_MS = 86_400_000
MINUTE_MS = 60_000
_EXACT_SUM = 4e18  # beyond this a sum of price × size leaves 64 bits: Python's integers then

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Aggregates:
    """Matches joined per taker order and price, as the `trades` channel publishes them.

    last: index of each aggregate's last match in its day; size: lots; count: matches
    """

    last: Ints
    size: Ints
    count: Ints


@dataclass(frozen=True)
class DayTrades:
    """The single matches of a day, oldest first.

    ids: rising; ts: ms; price: ticks; size: lots; buy: the taker bought; opens_order: the first match of a
    taker order
    """

    ids: Ints
    ts: Ints
    price: Ints
    size: Ints
    buy: Flags
    opens_order: Flags

    def __len__(self) -> int:
        return len(self.ts)

    def until(self, now_ms: int) -> int:
        """How many matches happened up to and including `now_ms`."""
        return int(np.searchsorted(self.ts, now_ms, side="right"))

    def part(self, start: int, stop: int) -> "DayTrades":
        """The matches [start, stop)."""
        return self.only(slice(start, stop))

    def only(self, which: slice | Ints | Flags) -> "DayTrades":
        """Some of the matches, by place or by flag."""
        return DayTrades(
            self.ids[which],
            self.ts[which],
            self.price[which],
            self.size[which],
            self.buy[which],
            self.opens_order[which],
        )

    @cached_property
    def aggregates(self) -> Aggregates:
        """The day's matches per taker order and price."""
        opens = self.opens_order.copy()
        opens[1:] |= self.price[1:] != self.price[:-1]
        if len(opens) == 0:
            empty = np.zeros(0, np.int64)
            return Aggregates(empty, empty, empty)
        opens[0] = True
        starts = np.flatnonzero(opens)
        last = np.append(starts[1:], len(opens)) - 1
        return Aggregates(last, np.add.reduceat(self.size, starts), last - starts + 1)


def no_trades() -> DayTrades:
    """A day without matches."""
    empty, flags = np.zeros(0, np.int64), np.zeros(0, np.bool_)
    return DayTrades(empty, empty, empty, empty, flags, flags)


def join_trades(parts: list[DayTrades]) -> DayTrades:
    """Matches of several stretches, the oldest first."""
    some = [part for part in parts if len(part)]
    if len(some) == 1 or not some:
        return (some or parts or [no_trades()])[0]
    return DayTrades(
        np.concatenate([part.ids for part in some]),
        np.concatenate([part.ts for part in some]),
        np.concatenate([part.price for part in some]),
        np.concatenate([part.size for part in some]),
        np.concatenate([part.buy for part in some]),
        np.concatenate([part.opens_order for part in some]),
    )


@dataclass(frozen=True)
class Candles:
    """Candles in a row without holes, oldest first.

    open_ms: ms; open … close: ticks; volume: lots; value: ticks × lots; count: matches. A candle without
    matches is flat at the close before it.
    """

    open_ms: Ints
    open: Ints
    high: Ints
    low: Ints
    close: Ints
    volume: Ints
    value: Ints
    count: Ints

    def __len__(self) -> int:
        return len(self.open_ms)

    def part(self, start: int | None, stop: int | None) -> "Candles":
        """The candles [start, stop)."""
        return Candles(*(column[start:stop] for column in self.columns()))

    def columns(self) -> tuple[Ints, ...]:
        """The eight arrays in order of declaration."""
        return (
            self.open_ms,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.value,
            self.count,
        )


def join(parts: list[Candles]) -> Candles:
    """One row of candles out of several that follow one another."""
    if len(parts) == 1:
        return parts[0]
    columns = zip(*(part.columns() for part in parts), strict=True)
    return Candles(*(np.concatenate(column) for column in columns))


def from_trades(trades: DayTrades, opens: Ints, previous_close: int) -> Candles:
    """Candles that open at `opens` (ms, rising; each lasts until the next), exactly those of the trades.

    previous_close: ticks; the flat price of the candles before the first match
    """
    price = trades.price
    columns = (price, price, price, price, trades.size, price * trades.size)
    return _grouped(opens, trades.ts, columns, None, previous_close)


def roll_up(candles: Candles, opens: Ints) -> Candles:
    """Larger candles that open at `opens` (ms, rising); candles without matches add nothing to them."""
    traded = np.flatnonzero(candles.count)
    _, *columns, count = (column[traded] for column in candles.columns())
    previous_close = int(candles.open[0]) if len(candles) else 0
    return _grouped(opens, candles.open_ms[traded], tuple(columns), count, previous_close)


def _grouped(
    opens: Ints, times: Ints, columns: tuple[Ints, ...], count: Ints | None, previous_close: int
) -> Candles:
    """Join rows by the candle they fall into; count None: each row is one match."""
    open_, high, low, close, volume, value = columns
    rows = len(opens)
    filled = [np.zeros(rows, np.int64) for _ in range(7)]
    bounds = np.searchsorted(times, opens)
    lengths = np.diff(bounds, append=len(times))
    at = np.flatnonzero(lengths)
    if len(at):
        starts = bounds[at]
        filled[0][at], filled[3][at] = open_[starts], close[starts + lengths[at] - 1]
        filled[1][at] = np.maximum.reduceat(high, starts)
        filled[2][at] = np.minimum.reduceat(low, starts)
        if value.sum(dtype=np.float64) > _EXACT_SUM:
            value, filled[5] = value.astype(object), filled[5].astype(object)
        filled[4][at] = np.add.reduceat(volume, starts)
        filled[5][at] = np.add.reduceat(value, starts)
        filled[6][at] = lengths[at] if count is None else np.add.reduceat(count, starts)
    empty = filled[6] == 0
    if empty.any():
        latest = np.maximum.accumulate(np.where(empty, -1, np.arange(rows)))
        flat = np.where(latest >= 0, filled[3][latest], previous_close)
        for column in filled[:4]:
            column[empty] = flat[empty]
    return Candles(opens, *filled)
