"""What the walks look up about prices, computed once for all combinations."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import polars as pl

from core.metrics import DAY_MS
from pipelines.backtest.account import Bools, Floats, Ints
from pipelines.backtest.compiled import njit
from pipelines.backtest.guarded import with_trades
from pipelines.backtest.risk import Risk

SPAN_BITS = 5
SPAN = 1 << SPAN_BITS
"""Candles of a block of `near_ranges`; inside one a stretch is looked through."""


# Columns of `Prices.look`. A candle's look-ups lie beside each other: a trade touches three candles. FILL:
# price an order that is filled in this candle gets (its open, or its close with fill close); FILLED_AT: the
# candle that fills an order of this one, the next that was traded, the number of candles where there is none;
# REFUSED: 1 where so many candles before it had no trade that nothing is bought; SUM_TO and SQUARES_TO:
# running sums of the close's return and of its square over candles 1 … t, and in SUM_LOST and SQUARES_LOST
# what their roundings lost, without which a crash would take the digits of all that comes after it; DAY_OF:
# number of UTC days that ended before the candle; NEAR: the first of the six of `near_ranges`.
CLOSE, FILL, FILLED_AT, REFUSED, SUM_TO, SUM_LOST, SQUARES_TO, SQUARES_LOST, DAY_OF, CLOSE_MS, NEAR = range(
    11
)
LOOK = NEAR + 6


@dataclass(frozen=True)
class Prices:
    """Arrays over the candles that are traded.

    look: a row for each candle, see above; close: its own column; far: lowest and highest close and deepest
    drawdown of blocks, see `far_ranges`; higher: the next candle whose close is as high or higher (n: none);
    day_end: last candle of each UTC day
    """

    look: Floats
    close: Floats
    far: Floats
    higher: Ints
    day_end: Ints

    def arrays(self) -> tuple[Any, ...]:
        """All of them, in the order of the kernels' arguments."""
        return tuple(getattr(self, field.name) for field in fields(self))


def prepare(candles: pl.DataFrame, fill_next: bool, volumes: bool | None = None) -> Prices:
    """The look-ups for a candle frame; volumes: see `guarded.with_trades`."""
    close = candles["close"].to_numpy(writable=True)
    close_ms = candles["timestamp"].dt.epoch("ms").to_numpy(writable=True)
    look, ends = np.empty((close.size, LOOK)), np.empty(close.size, np.int64)
    days = look_ups(
        close, candles["open"].to_numpy(writable=True) if fill_next else close, close_ms, look, ends
    )
    orders_fill(with_trades(candles["volume"], volumes), fill_next, Risk().max_silent_candles, look)
    near_ranges(close, look)
    return Prices(look, close, far_ranges(look), next_higher(close), ends[:days].copy())


@njit
def exactly(total: float, part: float) -> tuple[float, float]:
    """(their sum, what its rounding lost); Knuth 1969."""
    both = total + part
    own = both - total
    return both, (total - (both - own)) + (part - own)


@njit
def look_ups(close: Floats, fill: Floats, close_ms: Ints, look: Floats, ends: Ints) -> int:
    """Fill the columns of `look` before NEAR, and `ends` with the last candle of each UTC day; how many."""
    total = squares = total_lost = squares_lost = 0.0
    days = 0
    for t in range(close.size):
        if t > 0:
            change = close[t] / close[t - 1] - 1.0
            total, lost = exactly(total, change)
            total_lost += lost
            squares, lost = exactly(squares, change * change)
            squares_lost += lost
            if (close_ms[t] - 1) // DAY_MS != (close_ms[t - 1] - 1) // DAY_MS:
                ends[days] = t - 1
                days += 1
        row = look[t]
        row[CLOSE], row[FILL], row[CLOSE_MS] = close[t], fill[t], close_ms[t]
        row[SUM_TO], row[SUM_LOST], row[DAY_OF] = total, total_lost, days
        row[SQUARES_TO], row[SQUARES_LOST] = squares, squares_lost
    ends[days] = close.size - 1
    return days + 1


@njit
def orders_fill(traded: Bools, fill_next: bool, most_silent: int, look: Floats) -> None:
    """Fill the columns FILLED_AT and REFUSED: when an order meets its price, and what the risk gate of an
    account without a risk block refuses. traded: candles with a trade; most_silent: without one in a row, 0
    for no limit."""
    after = traded.size
    for t in range(traded.size - 1, -1, -1):
        look[t, FILLED_AT] = after if fill_next else t
        if traded[t]:
            after = t
    silent = 0
    for t in range(traded.size):
        silent = 0 if traded[t] else silent + 1
        look[t, REFUSED] = 1.0 if 0 < most_silent < silent else 0.0


@njit
def near_ranges(close: Floats, look: Floats) -> None:
    """For each candle (lowest, highest, deepest drawdown as a ratio) from it to the end of its block of
    `SPAN` candles, and the same from the block's start to it; into the columns of `look` from NEAR on."""
    n, found = close.size, look[:, NEAR:]
    for start in range(0, n, SPAN):
        end = min(start + SPAN, n)
        low = high = close[end - 1]
        worst = 1.0
        for t in range(end - 1, start - 1, -1):
            # Backwards: a candle before the stretch can be the peak of everything in it.
            low, high = min(low, close[t]), max(high, close[t])
            worst = min(worst, low / close[t])
            found[t, 0], found[t, 1], found[t, 2] = low, high, worst
        low = high = close[start]
        worst = 1.0
        for t in range(start, end):
            low, high = min(low, close[t]), max(high, close[t])
            worst = min(worst, close[t] / high)
            found[t, 3], found[t, 4], found[t, 5] = low, high, worst


@njit
def joined(one: Floats, two: Floats, out: Floats) -> None:
    """(lowest, highest, deepest drawdown) of two neighbouring stretches, the earlier first."""
    worst = min(min(one[2], two[2]), two[0] / one[1])
    out[0], out[1], out[2] = min(one[0], two[0]), max(one[1], two[1]), worst


@njit
def far_ranges(look: Floats) -> Floats:
    """far[0] is (lowest, highest, deepest drawdown) of each block; far[1 + level, b] the same of the blocks
    between b and the middle of its group of 2^(level+1): towards the middle from the left, from it to the
    right.

    Any blocks l < r are then two entries of one level, that of the highest bit in which l and r differ.
    """
    n = (look.shape[0] + SPAN - 1) // SPAN
    levels = 1
    while (1 << levels) < n:
        levels += 1
    far = np.empty((levels + 1, n, 3))
    for b in range(n):
        far[0, b] = look[b * SPAN, NEAR : NEAR + 3]
    for level in range(levels):
        half = 1 << level
        for middle in range(half, n, 2 * half):
            own = far[level + 1]
            own[middle - 1] = far[0, middle - 1]
            for b in range(middle - 2, middle - half - 1, -1):
                joined(far[0, b], own[b + 1], own[b])
            own[middle] = far[0, middle]
            for b in range(middle + 1, min(middle + half, n)):
                joined(own[b - 1], far[0, b], own[b])
    return far


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
