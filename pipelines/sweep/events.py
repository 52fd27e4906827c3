"""Walks of many combinations, in parallel: along crossings of two lines, or along given signals."""

import numba
import numpy as np
from numpy.typing import NDArray

from pipelines.backtest.compiled import njit, njit_parallel
from pipelines.backtest.kernel import Bools, Floats, Ints
from pipelines.sweep.walk import CASH, QUANTITY, enter, finish, leave

BLOCK = 2048
"""Candles of a block: its indicator rows and look-ups stay in the processor's cache for all combinations."""


@njit
def _crossings(first: Floats, second: Floats, flags: NDArray[np.uint8], begin: int, end: int) -> None:
    """flags: 1 where `first` is above `second`, 2 where below, 0 where equal."""
    for t in range(begin, end):
        flags[t - begin] = (1 if first[t] > second[t] else 0) + (2 if first[t] < second[t] else 0)


@njit_parallel
def walk_crossings(
    states: Floats,
    wholes: Ints,
    lines: Floats,
    pairs: Ints,
    groups: int,
    first_known: Ints,
    warm: int,
    fill_next: bool,
    fee: float,
    slippage: float,
    pays_in_quote: bool,
    candle_ms: int,
    fills: Floats,
    close: Floats,
    close_ms: Ints,
    sums: Floats,
    squares: Floats,
    tree: Floats,
    higher: Ints,
    day: Ints,
    day_end: Ints,
) -> None:
    """Buy where line pairs[c, 0] crosses above line pairs[c, 1], sell where it crosses below.

    groups: parts of the combinations that are walked at the same time; lines: indicator rows over warm + n
    candles; first_known: of each line, its first candle with a value;
    the other arrays over the n traded candles (see `Prices`). A crossing at a candle fills at the next one
    (fill_next) or at itself.
    """
    n, total, later = close.size, lines.shape[1], 1 if fill_next else 0
    for group in numba.prange(groups):
        start, stop = pairs.shape[0] * group // groups, pairs.shape[0] * (group + 1) // groups
        flags = np.empty(BLOCK + 1, np.uint8)
        for block in range(warm, total, BLOCK):
            end = min(block + BLOCK, total)
            for c in range(start, stop):
                one, two = pairs[c, 0], pairs[c, 1]
                begin = max(max(first_known[one], first_known[two]) + 1, block)
                if begin >= end:
                    continue
                _crossings(lines[one], lines[two], flags, begin - 1, end)
                state, whole = states[c], wholes[c]
                for t in range(begin, end):
                    flag = flags[t - begin + 1]
                    if flag == flags[t - begin] or flag == 0:
                        continue
                    at = t - warm + later
                    if at >= n:
                        continue
                    if flag == 1 and state[QUANTITY] == 0.0:
                        price = fills[at] * (1.0 + slippage)
                        enter(state, whole, at, price, fee, pays_in_quote, close, day, day_end)
                    elif flag == 2 and state[CASH] == 0.0:
                        price = fills[at] * (1.0 - slippage)
                        leave(state, whole, at, price, fee, close, close_ms, candle_ms, sums, squares, tree,
                              higher, day, day_end)  # fmt: skip
        for c in range(start, stop):
            finish(states[c], wholes[c], close, close_ms, candle_ms, sums, squares, tree, higher, day_end)


@njit
def walk_signals(
    state: Floats,
    whole: Ints,
    buy: Bools,
    sell: Bools,
    fill_next: bool,
    fee: float,
    slippage: float,
    pays_in_quote: bool,
    candle_ms: int,
    fills: Floats,
    close: Floats,
    close_ms: Ints,
    sums: Floats,
    squares: Floats,
    tree: Floats,
    higher: Ints,
    day: Ints,
    day_end: Ints,
) -> None:
    """One combination along its signals at the n traded candles."""
    later = 1 if fill_next else 0
    for t in range(close.size - later):
        at = t + later
        if buy[t] and state[QUANTITY] == 0.0:
            price = fills[at] * (1.0 + slippage)
            enter(state, whole, at, price, fee, pays_in_quote, close, day, day_end)
        elif sell[t] and state[CASH] == 0.0:
            price = fills[at] * (1.0 - slippage)
            leave(state, whole, at, price, fee, close, close_ms, candle_ms, sums, squares, tree, higher, day,
                  day_end)  # fmt: skip
    finish(state, whole, close, close_ms, candle_ms, sums, squares, tree, higher, day_end)
