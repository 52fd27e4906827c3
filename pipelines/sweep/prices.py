"""What the walks look up about prices, computed once for all combinations."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl

from core.metrics import DAY_MS
from pipelines.backtest.account import Floats, Ints
from pipelines.backtest.compiled import njit


@dataclass(frozen=True)
class Prices:
    """Arrays over the candles that are traded.

    fills: price an order of the candle before (fill open) or of this candle (fill close) is filled at
    sums, squares: running sums of the close's return and of its square; sums[t] covers candles 1 … t
    tree: lowest close, highest close and deepest drawdown, for any stretch (see `range_tree`)
    higher: the next candle whose close is as high or higher (n: none)
    day: number of UTC days that ended before the candle; day_end: last candle of each day
    """

    fills: Floats
    close: Floats
    close_ms: Ints
    sums: Floats
    squares: Floats
    tree: Floats
    higher: Ints
    day: Ints
    day_end: Ints

    def arrays(self) -> tuple[Any, ...]:
        """All of them, in the order of the kernels' arguments."""
        return tuple(getattr(self, field.name) for field in fields(self))


def prepare(candles: pl.DataFrame, fill_next: bool) -> Prices:
    """The look-ups for a candle frame."""
    close = candles["close"].to_numpy(writable=True)
    close_ms = candles["timestamp"].dt.epoch("ms").to_numpy(writable=True)
    change = np.zeros(close.size)
    change[1:] = close[1:] / close[:-1] - 1
    days = (close_ms - 1) // DAY_MS
    ends = np.append(np.flatnonzero(days[1:] != days[:-1]), close.size - 1)
    day = np.searchsorted(ends, np.arange(close.size))
    return Prices(
        fills=candles["open"].to_numpy(writable=True) if fill_next else close,
        close=close,
        close_ms=close_ms,
        sums=np.cumsum(change),
        squares=np.cumsum(change * change),
        tree=range_tree(close),
        higher=next_higher(close),
        day=day.astype(np.int64),
        day_end=ends.astype(np.int64),
    )


@njit
def range_tree(close: Floats) -> Floats:
    """tree[level, t] = (lowest, highest, deepest drawdown as a ratio) of the stretch between t and the middle
    of its block of 2^(level+1) candles: towards the middle from the left, from the middle to the right.

    Any stretch l < r is then two entries of one level, that of the highest bit in which l and r differ.
    """
    n = close.size
    levels = 1
    while (1 << levels) < n:
        levels += 1
    tree = np.empty((levels, n, 3))
    for level in range(levels):
        half = 1 << level
        for middle in range(half, n + half, 2 * half):
            low = high = close[min(middle, n) - 1]
            worst = 1.0
            for t in range(min(middle, n) - 1, middle - half - 1, -1):
                # Leftwards: a candle before the stretch can be the peak of everything in it.
                low, high = min(low, close[t]), max(high, close[t])
                worst = min(worst, low / close[t])
                tree[level, t, 0], tree[level, t, 1], tree[level, t, 2] = low, high, worst
            if middle >= n:
                continue
            low = high = close[middle]
            worst = 1.0
            for t in range(middle, min(middle + half, n)):
                low, high = min(low, close[t]), max(high, close[t])
                worst = min(worst, close[t] / high)
                tree[level, t, 0], tree[level, t, 1], tree[level, t, 2] = low, high, worst
    return tree


@njit
def next_higher(close: Floats) -> Ints:
    """For each candle the next one whose close is as high or higher; n where there is none."""
    n = close.size
    found = np.empty(n, np.int64)
    for t in range(n - 1, -1, -1):
        k = t + 1
        while k < n and close[k] < close[t]:
            k = found[k]
        found[t] = k
    return found
