"""What the walks look up about prices, computed once for all combinations."""

from typing import NamedTuple

import numba
import numpy as np
import polars as pl

from core.metrics import DAY_MS
from pipelines.backtest.account import Bools, Floats, Ints
from pipelines.backtest.candles import epoch_ms
from pipelines.backtest.compiled import borrowed, njit, njit_inlined, njit_parallel
from pipelines.backtest.guarded import with_trades
from pipelines.backtest.risk import Risk

SPAN_BITS = 4
SPAN = 1 << SPAN_BITS
"""Candles of a block of `_near_ranges`; inside one a stretch is looked through."""


# Columns of `Prices.look`. A candle's look-ups lie beside each other: a trade touches three candles. FILL:
# price an order that is filled in this candle gets (its open, or its close with fill close); FILLED_AT: the
# candle that fills an order of this one, the next that was traded, the number of candles where there is none;
# REFUSED: 1 where so many candles before it had no trade that nothing is bought; SUM_TO and SQUARES_TO:
# running sums of the close's return and of its square over candles 1 … t, and in SUM_LOST and SQUARES_LOST
# what their roundings lost, without which a crash would take the digits of all that comes after it; DAY_OF:
# number of UTC days that ended before the candle; NEAR: the first of the six of `_near_ranges`.
CLOSE, FILL, FILLED_AT, REFUSED, SUM_TO, SUM_LOST, SQUARES_TO, SQUARES_LOST, DAY_OF, CLOSE_MS, NEAR = range(
    11
)
LOOK = NEAR + 6


class Prices(NamedTuple):
    """Arrays over the candles that are traded, for the kernels.

    look: a row for each candle, see above; close: its own column; far: lowest and highest close and deepest
    drawdown of blocks, see `_far_ranges`; day_end: last candle of each UTC day; candle_ms: length of a candle
    """

    look: Floats
    close: Floats
    far: Floats
    day_end: Ints
    candle_ms: int


def prepare(candles: pl.DataFrame, fill_next: bool, candle_ms: int, volumes: bool | None = None) -> Prices:
    """The look-ups for a candle frame; volumes: see `guarded.with_trades`."""
    close = candles["close"].to_numpy(writable=True)
    opened = candles["open"].to_numpy(writable=True) if fill_next else close
    look, ends = np.empty((close.size, LOOK)), np.empty(close.size, np.int64)
    far = np.empty((_levels(close.size) + 1, _blocks(close.size), 3))
    traded, most_silent = with_trades(candles["volume"], volumes), Risk().max_silent_candles
    days = look_ups(close, opened, epoch_ms(candles), traded, fill_next, most_silent, look, far, ends)
    return Prices(look, close, far, ends[:days].copy(), candle_ms)


@njit
def exactly(total: float, part: float) -> tuple[float, float]:
    """(their sum, what its rounding lost); Knuth 1969."""
    both = total + part
    own = both - total
    return both, (total - (both - own)) + (part - own)


@njit_parallel
def look_ups(
    close: Floats,
    fill: Floats,
    close_ms: Ints,
    traded: Bools,
    fill_next: bool,
    most_silent: int,
    look: Floats,
    far: Floats,
    ends: Ints,
) -> int:
    """Fill `look`, `far`, and `ends` with the last candle of each UTC day; how many.

    traded: candles with a trade; most_silent: without one in a row, 0 for no limit
    """
    days = np.zeros(1, np.int64)
    for part in numba.prange(2):
        if part == 0:
            days[0] = _running(close, fill, close_ms, traded, fill_next, most_silent, look, ends)
        else:
            _near_ranges(close, look)
            _far_ranges(look, far)
    return int(days[0])


@njit
def _running(
    close: Floats,
    fill: Floats,
    close_ms: Ints,
    traded: Bools,
    fill_next: bool,
    most_silent: int,
    look: Floats,
    ends: Ints,
) -> int:
    """The columns of `look` before NEAR, and `ends`; how many days."""
    total = squares = total_lost = squares_lost = 0.0
    days, today = 0, (close_ms[0] - 1) // DAY_MS
    silent, waiting = 0, 0  # waiting: the first candle whose orders nobody has filled yet
    for t in range(close.size):
        if t > 0:
            change = close[t] / close[t - 1] - 1.0
            total, lost = exactly(total, change)
            total_lost += lost
            squares, lost = exactly(squares, change * change)
            squares_lost += lost
            day = (close_ms[t] - 1) // DAY_MS
            if day != today:
                ends[days] = t - 1
                days, today = days + 1, day
        silent = 0 if traded[t] else silent + 1
        row = look[t]
        row[CLOSE], row[FILL], row[CLOSE_MS] = close[t], fill[t], close_ms[t]
        row[SUM_TO], row[SUM_LOST], row[DAY_OF] = total, total_lost, days
        row[SQUARES_TO], row[SQUARES_LOST] = squares, squares_lost
        row[REFUSED] = 1.0 if 0 < most_silent < silent else 0.0
        row[FILLED_AT] = close.size if fill_next else t
        if fill_next and traded[t]:
            for before in range(waiting, t):
                look[before, FILLED_AT] = t
            waiting = t
    ends[days] = close.size - 1
    return days + 1


@njit
def _near_ranges(close: Floats, look: Floats) -> None:
    """For each candle (lowest, highest, deepest drawdown as a ratio) from it to the end of its block of
    `SPAN` candles, and the same from the block's start to it; into the columns of `look` from NEAR on.

    The last block first: another thread begins at the other end of the rows."""
    n, found = close.size, look[:, NEAR:]
    for block in range((n - 1) // SPAN, -1, -1):
        start, end = block * SPAN, min(block * SPAN + SPAN, n)
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


def _blocks(candles: int) -> int:
    """Blocks of `SPAN` candles."""
    return (candles + SPAN - 1) // SPAN


def _levels(candles: int) -> int:
    """Levels of `far_ranges` over the blocks: 2^levels is at least their number."""
    return max(1, (_blocks(candles) - 1).bit_length())


@njit
def joined(one: Floats, two: Floats, out: Floats) -> None:
    """(lowest, highest, deepest drawdown) of two neighbouring stretches, the earlier first."""
    worst = min(min(one[2], two[2]), two[0] / one[1])
    out[0], out[1], out[2] = min(one[0], two[0]), max(one[1], two[1]), worst


@njit
def _far_ranges(look: Floats, far: Floats) -> None:
    """far[0] is (lowest, highest, deepest drawdown) of each block; far[1 + level, b] the same of the blocks
    between b and the middle of its group of 2^(level+1): towards the middle from the left, from it to the
    right.

    Any blocks l < r are then two entries of one level, that of the highest bit in which l and r differ.
    """
    levels, n = far.shape[0] - 1, far.shape[1]
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


@njit_inlined
def lent(prices: Prices) -> Prices:
    """In a kernel: the same without owners, see `compiled.borrowed`."""
    return Prices(
        borrowed(prices.look),
        borrowed(prices.close),
        borrowed(prices.far),
        borrowed(prices.day_end),
        prices.candle_ms,
    )
