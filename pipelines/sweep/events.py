"""Walks of many combinations, in parallel: along crossings of two lines, or along given signals."""

import numba
import numpy as np
from numpy.typing import NDArray

from pipelines.backtest.account import Floats, Ints
from pipelines.backtest.compiled import borrowed, lowest, njit, njit_inlined, njit_parallel, sides
from pipelines.sweep.prices import FILLED_AT, REFUSED, Prices, lent
from pipelines.sweep.walk import QUANTITY, WAITS, Costs, enter, fill, finish, hear, leave

Bytes = NDArray[np.uint8]

BLOCK = 2048
"""Candles of a block: its indicator rows and look-ups stay in the processor's cache for all combinations."""
WORD = 64
"""Candles that are compared at once."""


@njit_inlined
def _crossings(first: Floats, second: Floats, begin: int, count: int) -> tuple[np.uint64, np.uint64]:
    """A bit for each of up to 64 candles where `first` crosses above `second`, and where below: it is on that
    side, and was not on the candle before."""
    one = np.uint64(1)
    above, below = np.uint64(0), np.uint64(0)
    if count == WORD:
        above, below = sides(first, second, begin)
    else:
        for k in range(count):
            above |= np.uint64(first[begin + k] > second[begin + k]) << np.uint64(k)
            below |= np.uint64(first[begin + k] < second[begin + k]) << np.uint64(k)
    before = begin - 1
    was_above = above << one | np.uint64(first[before] > second[before])
    was_below = below << one | np.uint64(first[before] < second[before])
    return above & ~was_above, below & ~was_below


@njit
def _walk_group(
    start: int,
    stop: int,
    states: Floats,
    wholes: Ints,
    lines: Floats,
    offset: int,
    until: int,
    pairs: Ints,
    begins: Ints,
    warm: int,
    costs: Costs,
    prices: Prices,
) -> None:
    """Combinations start … stop − 1 of `walk_crossings`."""
    states, wholes, lines, pairs = borrowed(states), borrowed(wholes), borrowed(lines), borrowed(pairs)
    begins, prices = borrowed(begins), lent(prices)
    for block in range(max(warm, offset + 1), until, BLOCK):
        end = min(block + BLOCK, until)
        for c in range(start, stop):
            first, second = lines[pairs[c, 0]], lines[pairs[c, 1]]
            state, whole = states[c], wholes[c]
            for t in range(max(begins[c], block), end, WORD):
                above, below = _crossings(first, second, t - offset, min(WORD, end - t))
                found = above | below
                while found:
                    at = t + lowest(found) - warm
                    bit = found & (~found + np.uint64(1))
                    found ^= bit
                    if 0 <= whole[WAITS] <= at:
                        fill(state, whole, costs, prices)
                    hear(state, whole, at, (above & bit) != 0, prices)


@njit_parallel
def walk_crossings(
    states: Floats,
    wholes: Ints,
    lines: Floats,
    offset: int,
    until: int,
    pairs: Ints,
    groups: int,
    begins: Ints,
    warm: int,
    costs: Costs,
    prices: Prices,
) -> None:
    """Buy where line pairs[c, 0] crosses above line pairs[c, 1], sell where it crosses below.

    lines: indicator rows over the candles offset … until − 1, of which the first is only looked back at;
    begins: of each combination, the first candle that may signal, after the first one with both lines;
    groups: parts of the combinations that are walked at the same time; warm: candles at the head that are
    not traded; the prices are of the traded ones, and say where the order of a crossing is filled. What is
    under way at the end is left to `finish_all`.
    """
    for group in numba.prange(groups):
        start, stop = pairs.shape[0] * group // groups, pairs.shape[0] * (group + 1) // groups
        _walk_group(start, stop, states, wholes, lines, offset, until, pairs, begins, warm, costs, prices)


@njit_parallel
def finish_all(states: Floats, wholes: Ints, costs: Costs, prices: Prices) -> None:
    """The end of the candles for every combination; an order that could still be filled is filled."""
    for c in numba.prange(states.shape[0]):
        if 0 <= wholes[c, WAITS] < prices.close.size:
            fill(states[c], wholes[c], costs, prices)
        finish(states[c], wholes[c], prices)


@njit_parallel
def ema_lines(values: Floats, alphas: Floats, carried: Floats, lines: Floats, begin: int, end: int) -> None:
    """The recursions m += alpha·(x − m) over candles begin … end − 1, from column 1 of `lines` on, by the
    arithmetic of Polars; column 0 is the candle before. carried: each m so far, kept for the next call."""
    fours = (alphas.size + 3) // 4
    for four in numba.prange(fours):
        # Four at a time: one recursion alone leaves the processor waiting for its own last step.
        i = 4 * four
        j, k, m = min(i + 1, alphas.size - 1), min(i + 2, alphas.size - 1), min(i + 3, alphas.size - 1)
        a, b, c, d = carried[i], carried[j], carried[k], carried[m]
        lines[i, 0], lines[j, 0], lines[k, 0], lines[m, 0] = a, b, c, d
        for t in range(begin, end):
            x = values[t]
            if t == 0:
                a, b, c, d = x, x, x, x
            a += alphas[i] * (x - a)
            b += alphas[j] * (x - b)
            c += alphas[k] * (x - c)
            d += alphas[m] * (x - d)
            column = t - begin + 1
            lines[i, column], lines[j, column], lines[k, column], lines[m, column] = a, b, c, d
        carried[i], carried[j], carried[k], carried[m] = a, b, c, d


@njit_inlined
def _next(flags: Bytes, words: NDArray[np.uint64], t: int, until: int) -> int:
    """The first candle from t on where the flag is not 0; `until` if there is none before it."""
    while t < until and t & 7:
        if flags[t]:
            return t
        t += 1
    while t + 8 <= until and words[t >> 3] == 0:
        t += 8
    while t < until and flags[t] == 0:
        t += 1
    return t


@njit
def walk_flags(
    state: Floats,
    whole: Ints,
    buy: Bytes,
    sell: Bytes,
    warm: int,
    costs: Costs,
    prices: Prices,
) -> None:
    """One combination along its signals.

    buy, sell: a byte for each candle, of which the first `warm` are not traded, not 0 where to act and never
    both; their length is a multiple of 8. The prices are of the traded candles.
    """
    state, whole, buy, sell = borrowed(state), borrowed(whole), borrowed(buy), borrowed(sell)
    prices = lent(prices)
    look, buys, sells = prices.look, buy.view(np.uint64), sell.view(np.uint64)
    t, until = warm, warm + prices.close.size
    while True:
        flat = state[QUANTITY] == 0.0
        t = _next(buy, buys, t, until) if flat else _next(sell, sells, t, until)
        if t >= until:
            break
        filled = int(look[t - warm, FILLED_AT]) + warm
        t += 1
        if flat and look[t - 1 - warm, REFUSED] > 0.0:
            continue
        if filled >= until:
            break
        if filled > t:  # nobody trades for a while: a signal against it withdraws the order
            against = _next(sell, sells, t, filled) if flat else _next(buy, buys, t, filled)
            if against < filled:
                t = against + 1
                continue
            t = filled
        if flat:
            enter(state, whole, filled - warm, costs, prices)
        else:
            leave(state, whole, filled - warm, costs, prices)
    finish(state, whole, prices)
