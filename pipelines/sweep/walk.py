"""The portfolio walk from event to event: what lies between two fills comes from `Prices`, not from a loop.

The state of a combination is a row of floats and a row of integers, so that many combinations can be walked
side by side through one stretch of candles that stays in the processor's cache.
"""

from typing import NamedTuple

import numpy as np

from pipelines.backtest import account
from pipelines.backtest.account import Floats, Ints
from pipelines.backtest.compiled import highest, njit_inlined
from pipelines.sweep.prices import (
    CLOSE,
    CLOSE_MS,
    DAY_OF,
    FILL,
    FILLED_AT,
    NEAR,
    REFUSED,
    SPAN,
    SPAN_BITS,
    SQUARES_LOST,
    SQUARES_TO,
    SUM_LOST,
    SUM_TO,
    Prices,
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


class Costs(NamedTuple):
    """Of a fill, see `Market`."""

    fee: float
    slippage: float
    pays_in_quote: bool


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
def days_until(state: Floats, whole: Ints, last_day: int, prices: Prices) -> None:
    """Take in the daily returns of the days that ended, up to number `last_day`, exclusive."""
    if last_day <= whole[DAY]:
        return
    for k in range(whole[DAY], last_day):
        equity = state[CASH] if state[QUANTITY] == 0.0 else state[QUANTITY] * prices.close[prices.day_end[k]]
        change = equity / state[DAY_EQUITY] - 1.0
        off = change - state[DAY_MEAN]
        state[DAY_MEAN] += off / (k + 1)
        state[DAY_SPREAD] += off * (change - state[DAY_MEAN])
        if change < 0.0:
            state[DAY_DOWN] += change * change
        state[DAY_EQUITY] = equity
    whole[DAY] = last_day


@njit_inlined
def _since(before: int, t: int, prices: Prices) -> float:
    """Milliseconds from the peak at candle `before` to candle t."""
    look = prices.look
    begun = look[before, CLOSE_MS] if before >= 0 else look[0, CLOSE_MS] - prices.candle_ms
    return float(look[t, CLOSE_MS] - begun)


@njit_inlined
def note_peak(state: Floats, whole: Ints, equity: float, t: int, prices: Prices) -> None:
    """Equity at candle t: is it the peak, how long was the way back to it, how deep is it below?"""
    if equity >= state[PEAK]:
        before = whole[PEAK_AT]
        if t - before > 1:
            state[LONGEST_MS] = max(state[LONGEST_MS], _since(before, t, prices))
        state[PEAK] = equity
        whole[PEAK_AT] = t
    else:
        state[WORST] = min(state[WORST], equity / state[PEAK])


@njit_inlined
def enter(state: Floats, whole: Ints, t: int, costs: Costs, prices: Prices) -> None:
    """Buy with all cash at candle t."""
    days_until(state, whole, int(prices.look[t, DAY_OF]), prices)
    price = prices.look[t, FILL] * (1.0 + costs.slippage)
    # While flat, equity equals cash: as long as that is the peak, the last flat candle is the peak.
    if state[CASH] >= state[PEAK] and whole[PEAK_AT] < t - 1:
        whole[PEAK_AT] = t - 1
    state[SPENT] = state[CASH]
    state[QUANTITY], state[PAID] = bought(state[CASH], price, costs.fee, costs.pays_in_quote)
    state[CASH] = 0.0
    whole[ENTRY] = t


@njit_inlined
def extremes(first: int, last: int, look: Floats, close: Floats, far: Floats) -> tuple[float, float, float]:
    """(lowest, highest, deepest drawdown as a ratio) of the closes of a stretch."""
    one, two = first >> SPAN_BITS, last >> SPAN_BITS
    if one == two:
        low = high = close[first]
        worst = 1.0
        for t in range(first + 1, last + 1):  # without branches, which nobody could foretell
            low, high = min(low, close[t]), max(high, close[t])
            worst = min(worst, close[t] / high)
        return low, high, worst
    low, high, worst = look[first, NEAR], look[first, NEAR + 1], look[first, NEAR + 2]
    one, two = one + 1, two - 1
    if one < two:
        level = 1 + highest(one ^ two)
        low, high, worst = _joined(
            low, high, worst, far[level, one, 0], far[level, one, 1], far[level, one, 2]
        )
        low, high, worst = _joined(
            low, high, worst, far[level, two, 0], far[level, two, 1], far[level, two, 2]
        )
    elif one == two:
        low, high, worst = _joined(low, high, worst, far[0, one, 0], far[0, one, 1], far[0, one, 2])
    return _joined(low, high, worst, look[last, NEAR + 3], look[last, NEAR + 4], look[last, NEAR + 5])


@njit_inlined
def _joined(
    low: float, high: float, worst: float, later_low: float, later_high: float, later_worst: float
) -> tuple[float, float, float]:
    """The extremes of two stretches that follow each other."""
    return min(low, later_low), max(high, later_high), min(min(worst, later_worst), later_low / high)


@njit_inlined
def hold(state: Floats, whole: Ints, last: int, prices: Prices) -> None:
    """Take in the stretch from the entry to candle `last`, at whose close the position is still held."""
    first, quantity, look, close = whole[ENTRY], state[QUANTITY], prices.look, prices.close
    change = quantity * look[first, CLOSE] / state[SPENT] - 1.0
    total = (look[last, SUM_TO] - look[first, SUM_TO]) + (look[last, SUM_LOST] - look[first, SUM_LOST])
    squares = look[last, SQUARES_TO] - look[first, SQUARES_TO]
    squares += look[last, SQUARES_LOST] - look[first, SQUARES_LOST]
    state[SUM] += change + total
    state[SQUARES] += change * change + squares
    whole[HELD] += last - first + 1
    low, high, worst = extremes(first, last, look, close, prices.far)
    # Below the old peak, or below one inside the stretch: the deeper of the two is the drawdown.
    state[WORST] = min(state[WORST], min(worst, quantity * low / state[PEAK]))
    if quantity * high >= state[PEAK]:
        t = first
        while t <= last:
            if t & (SPAN - 1) == 0 and quantity * prices.far[0, t >> SPAN_BITS, 1] < state[PEAK]:
                t += SPAN  # a block below the peak
                continue
            if quantity * close[t] >= state[PEAK]:
                note_peak(state, whole, quantity * close[t], t, prices)
            t += 1


@njit_inlined
def settle(state: Floats, whole: Ints, gained: float) -> None:
    """Count a round trip with that result after fees."""
    whole[TRADES] += 1
    off = gained - state[PNL_MEAN]
    state[PNL_MEAN] += off / whole[TRADES]
    state[PNL_SPREAD] += off * (gained - state[PNL_MEAN])
    whole[WINS] += gained > 0.0
    state[GAINS] += max(gained, 0.0)
    state[LOSSES] -= min(gained, 0.0)


@njit_inlined
def leave(state: Floats, whole: Ints, t: int, costs: Costs, prices: Prices) -> None:
    """Sell everything at candle t, after the entry's."""
    hold(state, whole, t - 1, prices)
    days_until(state, whole, int(prices.look[t, DAY_OF]), prices)
    price = prices.look[t, FILL] * (1.0 - costs.slippage)
    proceeds = state[QUANTITY] * price
    charged = proceeds * costs.fee
    cash = proceeds - charged
    change = cash / (state[QUANTITY] * prices.look[t - 1, CLOSE]) - 1.0
    state[SUM] += change
    state[SQUARES] += change * change
    state[FEES] += state[PAID] + charged
    state[TRADED] += state[SPENT] + proceeds
    settle(state, whole, cash - state[SPENT])
    whole[CLOSED] += 1
    state[CASH], state[QUANTITY] = cash, 0.0
    note_peak(state, whole, cash, t, prices)


@njit_inlined
def fill(state: Floats, whole: Ints, costs: Costs, prices: Prices) -> None:
    """The order under way meets its price."""
    t = whole[WAITS]
    whole[WAITS] = -1
    if state[QUANTITY] == 0.0:
        enter(state, whole, t, costs, prices)
    else:
        leave(state, whole, t, costs, prices)


@njit_inlined
def hear(state: Floats, whole: Ints, t: int, buys: bool, prices: Prices) -> None:
    """A signal at the close of candle t: it gives an order, or withdraws one that it goes against."""
    flat = state[QUANTITY] == 0.0
    if whole[WAITS] >= 0:
        if buys != flat:
            whole[WAITS] = -1
    elif buys == flat and not (buys and prices.look[t, REFUSED] > 0.0):
        whole[WAITS] = int(prices.look[t, FILLED_AT])


@njit_inlined
def finish(state: Floats, whole: Ints, prices: Prices) -> None:
    """The end of the candles: an open position is valued at the last close."""
    last = prices.close.size - 1
    if state[QUANTITY] > 0.0:
        hold(state, whole, last, prices)
        state[FEES] += state[PAID]
        state[TRADED] += state[SPENT]
        state[EQUITY] = state[QUANTITY] * prices.close[last]
        settle(state, whole, state[EQUITY] - state[SPENT])
    else:
        state[EQUITY] = state[CASH]
        if state[CASH] >= state[PEAK]:
            whole[PEAK_AT] = last
    days_until(state, whole, prices.day_end.size, prices)
    if whole[PEAK_AT] < last:
        state[LONGEST_MS] = max(state[LONGEST_MS], _since(whole[PEAK_AT], last, prices))
