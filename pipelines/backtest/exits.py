"""The second kernel: exits inside candles and position sizes, candle by candle, compiled.

The same order of events and the same rules as `core.decisions` and `core.risk`, by which bots trade: at each
candle an order meets its open (the first trade), then the protective exits its range, then the signals its
close. Of two prices that are the same but for their rounding, the stop is the one that was hit.
"""

from typing import NamedTuple

import numpy as np

from pipelines.backtest import account
from pipelines.backtest.account import (
    BOUGHT_AT,
    ENTRY,
    EXIT,
    REASON,
    SIGNAL,
    SOLD_AT,
    STILL_OPEN,
    STOP_LOSS,
    TAKE_PROFIT,
    TIME,
    TRAILING_STOP,
    Bools,
    Floats,
    Ints,
)
from pipelines.backtest.compiled import njit, njit_inlined
from pipelines.backtest.gate import (
    HALTED,
    TOUCH,
    holds_up,
    lost_too_much,
    remember_exit,
    remember_order,
)

bought = njit_inlined(account.bought)

# What is carried from candle to candle.
CASH, COINS, SPENT, PAID, PRICE, WANTED, STOP, TARGET, HIGHEST, DAY_VALUE, LAST_VALUE, PEAK = range(12)
CARRIED = 12
# And in whole numbers: round trips that are over, the order that waits (1 buy, −1 sell, 0 none), why it was
# given and at which candle, candles without a trade in a row, close of the candle of the entry (ms).
COUNT, ORDER, WHY, DECIDED, SILENT, ENTERED = range(6)
WHOLE = 6


class Bars(NamedTuple):
    """The candles. traded: whether there was a trade in it; day: number of the UTC day of its open; closed:
    its close time, ms."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    traded: Bools
    day: Ints
    closed: Ints


class Rules(NamedTuple):
    """What stays the same; fractions and quote currency. 0 is no such limit.

    fraction: most of the account in coins; amount: spent by each buy, on top of equity times its weight
    most: that a buy spends, infinity for no such limit; longest_ms: from the close of the candle of the entry
    to that at which it has been held for as long as it may (candles that are missing count), −1 for no such
    limit; the others as in `core.risk`
    """

    fill_next: bool
    pays_in_quote: bool
    fee: float
    slippage: float
    fraction: float
    amount: float
    stop_loss: float
    take_profit: float
    trailing_stop: float
    longest_ms: int
    max_daily_loss: float
    max_drawdown: float
    max_silent: int
    most: float
    deviation: float
    orders_an_hour: int
    orders_a_day: int
    cooldown_candles: int
    cooldown_ms: int
    max_losses: int
    halts: bool


@njit_inlined
def _enter(carried: Floats, rules: Rules, market: float) -> None:
    """Buy for the amount that was decided on; stops and target follow from the average cost."""
    spend = min(carried[WANTED], carried[CASH])
    price = market * (1.0 + rules.slippage)
    coins, paid = bought(spend, price, rules.fee, rules.pays_in_quote)
    carried[CASH] -= spend
    carried[COINS], carried[SPENT], carried[PAID], carried[PRICE] = coins, spend, paid, price
    average = spend / coins
    carried[STOP] = average * (1.0 - rules.stop_loss) if rules.stop_loss > 0.0 else -np.inf
    carried[TARGET] = average * (1.0 + rules.take_profit) if rules.take_profit > 0.0 else np.inf
    carried[HIGHEST] = market


@njit_inlined
def _leave(carried: Floats, rules: Rules, market: float, row: Floats) -> None:
    """Sell everything and write the round trip's numbers."""
    price = market * (1.0 - rules.slippage)
    proceeds = carried[COINS] * price
    charged = proceeds * rules.fee
    row[0], row[1], row[2] = carried[PRICE], price, carried[COINS]
    row[3], row[4] = carried[PAID] + charged, proceeds - charged - carried[SPENT]
    row[5] = carried[SPENT] + proceeds
    carried[CASH] += proceeds - charged
    carried[COINS] = 0.0


@njit_inlined
def _protect(carried: Floats, rules: Rules, open_: float, high: float, low: float) -> tuple[int, float]:
    """(reason, price) of the exit that a candle sets off, (0, 0) for none. Its open comes first; after it, of
    low before high and high before low, what leaves us with less at its close."""
    trailing = rules.trailing_stop > 0.0
    carried[HIGHEST] = max(carried[HIGHEST], open_)  # comes before both, whatever their order
    trail = carried[HIGHEST] * (1.0 - rules.trailing_stop) if trailing else -np.inf
    stop = max(carried[STOP], trail)
    if open_ >= carried[TARGET] * (1.0 - TOUCH) and open_ > stop * (1.0 + TOUCH):
        return TAKE_PROFIT, max(open_, carried[TARGET])
    if low <= stop * (1.0 + TOUCH):
        return STOP_LOSS if carried[STOP] >= trail * (1.0 - TOUCH) else TRAILING_STOP, min(open_, stop)
    if high >= carried[TARGET] * (1.0 - TOUCH):
        return TAKE_PROFIT, carried[TARGET]
    if trailing and high > carried[HIGHEST]:
        carried[HIGHEST] = high
        trail = high * (1.0 - rules.trailing_stop)
        if low <= trail * (1.0 + TOUCH):
            return TRAILING_STOP, trail
    return STILL_OPEN, 0.0


@njit_inlined
def _may_buy(
    t: int,
    now_ms: int,
    day: int,
    before: float,
    close: float,
    carried: Floats,
    whole: Ints,
    rules: Rules,
    memory: Ints,
    weight: float,
) -> bool:
    """Whether the risk gate lets a buy through; notes how much it may spend."""
    if holds_up(memory, rules, t, now_ms, whole[SILENT], before, close) or lost_too_much(
        memory, rules, day, carried[DAY_VALUE], carried[PEAK], carried[LAST_VALUE]
    ):
        return False
    wanted = rules.amount + carried[CASH] * weight
    most = min(carried[CASH] * rules.fraction, rules.most)
    carried[WANTED] = min(wanted, most) if wanted > 0.0 else 0.0
    return bool(carried[WANTED] > 0.0)


@njit_inlined
def _fill(
    t: int,
    market: float,
    now_ms: int,
    day: int,
    carried: Floats,
    whole: Ints,
    rules: Rules,
    memory: Ints,
    trips: Ints,
    values: Floats,
) -> None:
    """The order that waits meets a price."""
    row = trips[whole[COUNT]]
    if whole[ORDER] > 0:
        _enter(carried, rules, market)
        row[ENTRY], row[BOUGHT_AT] = t, whole[DECIDED]
        whole[ENTERED] = now_ms
    else:
        _leave(carried, rules, market, values[whole[COUNT]])
        row[EXIT], row[REASON] = t, whole[WHY]
        row[SOLD_AT] = whole[DECIDED] if whole[WHY] == SIGNAL else -1
        gained = values[whole[COUNT], 4]
        remember_exit(memory, t, now_ms, day, carried[SPENT], gained)
        whole[COUNT] += 1
    whole[ORDER] = 0


@njit_inlined
def _guard(
    t: int,
    open_: float,
    high: float,
    low: float,
    now_ms: int,
    day: int,
    carried: Floats,
    whole: Ints,
    rules: Rules,
    memory: Ints,
    trips: Ints,
    values: Floats,
) -> None:
    """The exits inside a candle that began with a position."""
    reason, price = _protect(carried, rules, open_, high, low)
    if reason != STILL_OPEN:
        _leave(carried, rules, price, values[whole[COUNT]])
        row = trips[whole[COUNT]]
        row[EXIT], row[REASON], row[SOLD_AT] = t, reason, -1
        gained = values[whole[COUNT], 4]
        remember_exit(memory, t, now_ms, day, carried[SPENT], gained)
        whole[COUNT] += 1


@njit_inlined
def _decide(
    t: int,
    side: int,
    now_ms: int,
    day: int,
    before: float,
    close: float,
    carried: Floats,
    whole: Ints,
    rules: Rules,
    memory: Ints,
    weight: float,
) -> None:
    """What a signal (1 buy, −1 sell, 0 none) and the time make of the order that waits; one that goes against
    it withdraws it."""
    if side != 0:
        if whole[ORDER] != 0:
            whole[ORDER] = side if whole[ORDER] == side else 0
        elif (side > 0) == (carried[COINS] == 0.0) and (
            side < 0 or _may_buy(t, now_ms, day, before, close, carried, whole, rules, memory, weight)
        ):
            whole[ORDER], whole[WHY], whole[DECIDED] = side, SIGNAL, t
            if side > 0:
                remember_order(memory, now_ms)
    timed = carried[COINS] > 0.0 and 0 <= rules.longest_ms <= now_ms - whole[ENTERED]
    if whole[ORDER] == 0 and timed:
        whole[ORDER], whole[WHY] = -1, TIME


@njit
def walk_exits(
    bars: Bars,
    buy: Bools,
    sell: Bools,
    weights: Floats,
    rules: Rules,
    cash: float,
    memory: Ints,
    equity: Floats,
    trips: Ints,
    values: Floats,
) -> tuple[int, int]:
    """Round trips and candles that closed with a position; fills `equity`, `trips` and `values`.

    memory: of the risk gate, new · buy, sell: at each close, never both · weights: part of equity a buy
    spends, for every candle or one for all · trips, values: a row for each possible round trip; values as in
    `account.walk`
    """
    carried, whole = np.zeros(CARRIED), np.zeros(WHOLE, np.int64)
    carried[CASH], carried[DAY_VALUE], carried[LAST_VALUE], carried[PEAK] = cash, cash, cash, cash
    held, many = 0, weights.size > 1
    kept = 1.0 - rules.trailing_stop if rules.trailing_stop > 0.0 else 0.0
    # Taken out of their tuple once: inside the loop that would count references at every candle.
    opens, highs, lows, closes, traded, day, closed = bars
    close, idle, riding = 0.0, False, False
    cash_now = coins = stop = goal = highest = value = peak = 0.0
    silent, leave_ms = 0, 0
    for t in range(closes.size):
        if idle and not buy[t] and day[t] == day[t - 1]:  # nothing but cash, as at the candle before
            whole[SILENT] = 0 if traded[t] else whole[SILENT] + 1
            equity[t] = carried[CASH]
            continue
        # Nothing but the position.
        if riding and not sell[t] and closed[t] < leave_ms and day[t] == day[t - 1]:
            top = max(highest, highs[t])
            if not traded[t] or (lows[t] > max(stop, top * kept) * (1.0 + TOUCH) and highs[t] < goal):
                if traded[t]:
                    highest, silent = top, 0
                else:
                    silent += 1
                close = closes[t]
                value = cash_now + coins * close
                peak = max(peak, value)
                equity[t] = value
                held += 1
                continue
        if riding:
            carried[HIGHEST], carried[LAST_VALUE], carried[PEAK] = highest, value, peak
            whole[SILENT] = silent
        close = closes[t]
        if traded[t]:
            whole[SILENT] = 0
            if whole[ORDER] != 0:
                _fill(t, opens[t], closed[t], day[t], carried, whole, rules, memory, trips, values)
            top = max(carried[HIGHEST], highs[t])
            if carried[COINS] > 0.0 and (
                lows[t] <= max(carried[STOP], top * kept) * (1.0 + TOUCH)
                or highs[t] >= carried[TARGET] * (1.0 - TOUCH)
            ):
                _guard(
                    t,
                    opens[t],
                    highs[t],
                    lows[t],
                    closed[t],
                    day[t],
                    carried,
                    whole,
                    rules,
                    memory,
                    trips,
                    values,
                )
            else:
                carried[HIGHEST] = top
        else:
            whole[SILENT] += 1
        if t == 0 or day[t] != day[t - 1]:
            carried[DAY_VALUE] = carried[LAST_VALUE]
        carried[LAST_VALUE] = carried[CASH] + carried[COINS] * close
        carried[PEAK] = max(carried[PEAK], carried[LAST_VALUE])
        if rules.halts and lost_too_much(
            memory, rules, day[t], carried[DAY_VALUE], carried[PEAK], carried[LAST_VALUE]
        ):
            memory[HALTED] = 1
        side = 1 if buy[t] else -1 if sell[t] else 0
        holding, waiting = carried[COINS] > 0.0, whole[ORDER] != 0
        timed = holding and 0 <= rules.longest_ms <= closed[t] - whole[ENTERED]
        if timed or (side != 0 and (waiting or (side < 0) == holding)):
            before, weight = closes[t - 1] if t > 0 else 0.0, weights[t if many else 0]
            now_ms = closed[t]
            _decide(t, side, now_ms, day[t], before, close, carried, whole, rules, memory, weight)
        idle = carried[COINS] == 0.0 and whole[ORDER] == 0
        if whole[ORDER] != 0 and not rules.fill_next:
            _fill(t, close, closed[t], day[t], carried, whole, rules, memory, trips, values)
        equity[t] = carried[CASH] + carried[COINS] * close
        held += carried[COINS] > 0.0
        riding = carried[COINS] > 0.0 and whole[ORDER] == 0 and not rules.halts
        if riding:
            cash_now, coins, stop = carried[CASH], carried[COINS], carried[STOP]
            goal, highest = carried[TARGET] * (1.0 - TOUCH), carried[HIGHEST]
            value, peak, silent = carried[LAST_VALUE], carried[PEAK], whole[SILENT]
            leave_ms = whole[ENTERED] + rules.longest_ms if rules.longest_ms >= 0 else closed[-1] + 1
    if carried[COINS] > 0.0:
        row, count = values[whole[COUNT]], whole[COUNT]
        row[0], row[1], row[2], row[3] = carried[PRICE], close, carried[COINS], carried[PAID]
        row[4], row[5] = carried[COINS] * close - carried[SPENT], carried[SPENT]
        trips[count, EXIT], trips[count, SOLD_AT], trips[count, REASON] = -1, -1, STILL_OPEN
        whole[COUNT] += 1
    return whole[COUNT], held
