"""The portfolio walk from event to event: what lies between two fills comes from `Prices`, not from a loop.

The state of a combination is a row of floats and a row of integers, so that many combinations can be walked
side by side through one stretch of candles that stays in the processor's cache.
"""

import numpy as np

from pipelines.backtest import account
from pipelines.backtest.account import Floats, Ints
from pipelines.backtest.compiled import njit_inlined
from pipelines.sweep.prices import (
    CLOSE,
    CLOSE_MS,
    DAY_OF,
    FILL,
    FILLED_AT,
    NEAR,
    REFUSED,
    SPAN_BITS,
    SQUARES_LOST,
    SQUARES_TO,
    SUM_LOST,
    SUM_TO,
)

bought = njit_inlined(account.bought)

# Columns of the float state. SUM and SQUARES are of the candles' returns; MEAN and SPREAD (the sum of squared
# differences from the mean) are kept by Welford's recursion.
(
    CASH,
    QUANTITY,
    SPENT,
    PAID,
    SUM,
    SQUARES,
    PEAK,
    WORST,
    GAINS,
    LOSSES,
    PNL_MEAN,
    PNL_SPREAD,
    FEES,
    TRADED,
    DAY_EQUITY,
    DAY_MEAN,
    DAY_SPREAD,
    DAY_DOWN,
    LONGEST_MS,
    EQUITY,
) = range(20)
FLOATS = 20
# Columns of the integer state. PEAK_AT −1 is the start, before the first candle. WAITS: the candle that fills
# the order under way, −1 for none; it buys while nothing is held, and sells otherwise.
ENTRY, HELD, TRADES, WINS, CLOSED, DAY, PEAK_AT, WAITS = range(8)
INTEGERS = 8


def new_states(combinations: int, cash: float) -> tuple[Floats, Ints]:
    """States of combinations that hold nothing but cash."""
    floats = np.zeros((combinations, FLOATS))
    floats[:, [CASH, PEAK, DAY_EQUITY, EQUITY]] = cash
    floats[:, WORST] = 1.0
    integers = np.zeros((combinations, INTEGERS), np.int64)
    integers[:, ENTRY] = -1
    integers[:, PEAK_AT] = -1
    integers[:, WAITS] = -1
    return floats, integers


@njit_inlined
def days_until(state: Floats, whole: Ints, last_day: int, close: Floats, day_end: Ints) -> None:
    """Take in the daily returns of the days that ended, up to number `last_day`, exclusive."""
    if last_day <= whole[DAY]:
        return
    for k in range(whole[DAY], last_day):
        equity = state[CASH] if state[QUANTITY] == 0.0 else state[QUANTITY] * close[day_end[k]]
        change = equity / state[DAY_EQUITY] - 1.0
        off = change - state[DAY_MEAN]
        state[DAY_MEAN] += off / (k + 1)
        state[DAY_SPREAD] += off * (change - state[DAY_MEAN])
        if change < 0.0:
            state[DAY_DOWN] += change * change
        state[DAY_EQUITY] = equity
    whole[DAY] = last_day


@njit_inlined
def note_peak(state: Floats, whole: Ints, equity: float, t: int, look: Floats, candle_ms: int) -> None:
    """Equity at candle t: is it the peak, how long was the way back to it, how deep is it below?"""
    if equity >= state[PEAK]:
        before = whole[PEAK_AT]
        if t - before > 1:
            since = look[before, CLOSE_MS] if before >= 0 else look[0, CLOSE_MS] - candle_ms
            state[LONGEST_MS] = max(state[LONGEST_MS], look[t, CLOSE_MS] - since)
        state[PEAK] = equity
        whole[PEAK_AT] = t
    else:
        state[WORST] = min(state[WORST], equity / state[PEAK])


@njit_inlined
def enter(
    state: Floats,
    whole: Ints,
    t: int,
    fee: float,
    slippage: float,
    pays_in_quote: bool,
    look: Floats,
    close: Floats,
    day_end: Ints,
) -> None:
    """Buy with all cash at candle t."""
    days_until(state, whole, int(look[t, DAY_OF]), close, day_end)
    price = look[t, FILL] * (1.0 + slippage)
    # While flat, equity equals cash: as long as that is the peak, the last flat candle is the peak.
    if state[CASH] >= state[PEAK] and whole[PEAK_AT] < t - 1:
        whole[PEAK_AT] = t - 1
    state[SPENT] = state[CASH]
    state[QUANTITY], state[PAID] = bought(state[CASH], price, fee, pays_in_quote)
    state[CASH] = 0.0
    whole[ENTRY] = t


@njit_inlined
def extremes(first: int, last: int, look: Floats, close: Floats, far: Floats) -> tuple[float, float, float]:
    """(lowest, highest, deepest drawdown as a ratio) of the closes of a stretch."""
    one, two = first >> SPAN_BITS, last >> SPAN_BITS
    if one == two:
        low = high = close[first]
        worst = 1.0
        for t in range(first + 1, last + 1):
            if close[t] > high:
                high = close[t]
            elif close[t] < worst * high:
                worst = close[t] / high
            low = min(low, close[t])
        return low, high, worst
    low, high, worst = look[first, NEAR], look[first, NEAR + 1], look[first, NEAR + 2]
    one, two = one + 1, two - 1
    if one <= two:
        level, differ = 0, one ^ two
        while differ:
            level += 1
            differ >>= 1
        low, high, worst = _joined(
            low, high, worst, far[level, one, 0], far[level, one, 1], far[level, one, 2]
        )
        if one < two:
            low, high, worst = _joined(
                low, high, worst, far[level, two, 0], far[level, two, 1], far[level, two, 2]
            )
    return _joined(low, high, worst, look[last, NEAR + 3], look[last, NEAR + 4], look[last, NEAR + 5])


@njit_inlined
def _joined(
    low: float, high: float, worst: float, later_low: float, later_high: float, later_worst: float
) -> tuple[float, float, float]:
    """The extremes of two stretches that follow each other."""
    worst = min(worst, later_worst)
    if later_low < worst * high:
        worst = later_low / high
    return min(low, later_low), max(high, later_high), worst


@njit_inlined
def hold(
    state: Floats,
    whole: Ints,
    last: int,
    candle_ms: int,
    look: Floats,
    close: Floats,
    far: Floats,
    higher: Ints,
) -> None:
    """Take in the stretch from the entry to candle `last`, at whose close the position is still held."""
    first, quantity = whole[ENTRY], state[QUANTITY]
    change = quantity * look[first, CLOSE] / state[SPENT] - 1.0
    total = (look[last, SUM_TO] - look[first, SUM_TO]) + (look[last, SUM_LOST] - look[first, SUM_LOST])
    squares = look[last, SQUARES_TO] - look[first, SQUARES_TO]
    squares += look[last, SQUARES_LOST] - look[first, SQUARES_LOST]
    state[SUM] += change + total
    state[SQUARES] += change * change + squares
    whole[HELD] += last - first + 1
    low, high, worst = extremes(first, last, look, close, far)
    # Below the old peak, or below one inside the stretch: the deeper of the two is the drawdown.
    state[WORST] = min(state[WORST], min(worst, quantity * low / state[PEAK]))
    if quantity * high >= state[PEAK]:
        t = first
        while t <= last:  # only highs of the stretch can be peaks: from each to the next higher one
            if quantity * close[t] >= state[PEAK]:
                note_peak(state, whole, quantity * close[t], t, look, candle_ms)
            t = higher[t]


@njit_inlined
def settle(state: Floats, whole: Ints, gained: float) -> None:
    """Count a round trip with that result after fees."""
    whole[TRADES] += 1
    off = gained - state[PNL_MEAN]
    state[PNL_MEAN] += off / whole[TRADES]
    state[PNL_SPREAD] += off * (gained - state[PNL_MEAN])
    if gained > 0.0:
        whole[WINS] += 1
        state[GAINS] += gained
    else:
        state[LOSSES] -= gained


@njit_inlined
def leave(
    state: Floats,
    whole: Ints,
    t: int,
    fee: float,
    slippage: float,
    candle_ms: int,
    look: Floats,
    close: Floats,
    far: Floats,
    higher: Ints,
    day_end: Ints,
) -> None:
    """Sell everything at candle t, after the entry's."""
    hold(state, whole, t - 1, candle_ms, look, close, far, higher)
    days_until(state, whole, int(look[t, DAY_OF]), close, day_end)
    price = look[t, FILL] * (1.0 - slippage)
    proceeds = state[QUANTITY] * price
    charged = proceeds * fee
    cash = proceeds - charged
    change = cash / (state[QUANTITY] * look[t - 1, CLOSE]) - 1.0
    state[SUM] += change
    state[SQUARES] += change * change
    state[FEES] += state[PAID] + charged
    state[TRADED] += state[SPENT] + proceeds
    settle(state, whole, cash - state[SPENT])
    whole[CLOSED] += 1
    state[CASH], state[QUANTITY] = cash, 0.0
    note_peak(state, whole, cash, t, look, candle_ms)


@njit_inlined
def fill(
    state: Floats,
    whole: Ints,
    fee: float,
    slippage: float,
    pays_in_quote: bool,
    candle_ms: int,
    look: Floats,
    close: Floats,
    far: Floats,
    higher: Ints,
    day_end: Ints,
) -> None:
    """The order under way meets its price."""
    t = whole[WAITS]
    whole[WAITS] = -1
    if state[QUANTITY] == 0.0:
        enter(state, whole, t, fee, slippage, pays_in_quote, look, close, day_end)
    else:
        leave(state, whole, t, fee, slippage, candle_ms, look, close, far, higher, day_end)


@njit_inlined
def hear(state: Floats, whole: Ints, t: int, buys: bool, look: Floats) -> None:
    """A signal at the close of candle t: it gives an order, or withdraws one that it goes against."""
    flat = state[QUANTITY] == 0.0
    if whole[WAITS] >= 0:
        if buys != flat:
            whole[WAITS] = -1
    elif buys == flat and not (buys and look[t, REFUSED] > 0.0):
        whole[WAITS] = int(look[t, FILLED_AT])


@njit_inlined
def finish(
    state: Floats,
    whole: Ints,
    candle_ms: int,
    look: Floats,
    close: Floats,
    far: Floats,
    higher: Ints,
    day_end: Ints,
) -> None:
    """The end of the candles: an open position is valued at the last close."""
    last = close.size - 1
    if state[QUANTITY] > 0.0:
        hold(state, whole, last, candle_ms, look, close, far, higher)
        state[FEES] += state[PAID]
        state[TRADED] += state[SPENT]
        state[EQUITY] = state[QUANTITY] * close[last]
        settle(state, whole, state[EQUITY] - state[SPENT])
    else:
        state[EQUITY] = state[CASH]
        if state[CASH] >= state[PEAK]:
            whole[PEAK_AT] = last
    days_until(state, whole, day_end.size, close, day_end)
    before = whole[PEAK_AT]
    if before < last:
        since = look[before, CLOSE_MS] if before >= 0 else look[0, CLOSE_MS] - candle_ms
        state[LONGEST_MS] = max(state[LONGEST_MS], look[last, CLOSE_MS] - since)
