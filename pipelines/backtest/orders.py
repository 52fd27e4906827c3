"""The third kernel: orders that wait, fill in parts and move the price, on bars finer than the candles.

Its rules are those of `exits`, and with the plain options so are its numbers. A bar is the finest stretch at
hand: the candle itself, a minute of it, or one trade. At each bar the waiting order comes first, then the
protective exits; where a candle ends (`ends`), the account is valued and the signal of that candle is heard.

An entry at a price inside a bar has only part of the bar's path behind it: the low counts against a stop in
any case, the high for a profit only where it must have come later.
"""

import numpy as np

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
from pipelines.backtest.exits import Rules
from pipelines.backtest.filling import (
    BEFORE,
    BUDGET,
    CARRIED,
    CASH,
    COINS,
    COST,
    COUNT,
    DAY,
    DAY_VALUE,
    DECIDED,
    ENTERED,
    EXPIRES,
    FRESH,
    GAINED,
    GOT,
    GROSS,
    HIGHEST,
    KIND,
    LAST_VALUE,
    LIMIT,
    MAKER,
    MARKET,
    ORDER,
    PAID,
    PEAK,
    RECEIVED,
    SILENT,
    SOLD,
    SPENT,
    STOP,
    STOP_ENTRY,
    TAKER,
    TARGET,
    TIER_DAYS,
    TRIGGER,
    TURNOVER,
    WHOLE,
    WHY,
    Bars,
    Book,
    Terms,
    buy,
    sell,
)
from pipelines.backtest.gate import (
    HALTED,
    TOUCH,
    holds_up,
    lost_too_much,
    remember_exit,
    remember_order,
)

OPEN_FILL, INSIDE_FILL = 0, 1


@njit_inlined
def _begin_trip(t: int, moment: int, carried: Floats, whole: Ints, book: Book) -> None:
    row = book.trips[whole[COUNT]]
    row[ENTRY], row[BOUGHT_AT] = t, whole[DECIDED]
    book.moments[whole[COUNT], 0] = moment
    carried[HIGHEST] = 0.0


@njit_inlined
def _end_trip(
    t: int, moment: int, reason: int, last: float, carried: Floats, whole: Ints, book: Book
) -> None:
    """Write the round trip; last: price at which coins that are still held are valued."""
    n, left = whole[COUNT], carried[COINS] * last
    row, numbers = book.trips[n], book.values[n]
    row[EXIT], row[REASON] = t, reason
    row[SOLD_AT] = whole[DECIDED] if reason == SIGNAL else -1
    book.moments[n, 1] = moment
    numbers[0] = carried[COST] / carried[GROSS]
    numbers[1] = (carried[GOT] + left) / (carried[SOLD] + carried[COINS])
    numbers[2], numbers[3] = carried[RECEIVED], carried[PAID]
    numbers[4] = carried[GAINED] + left - carried[SPENT]
    numbers[5] = carried[SPENT] + carried[GOT]
    for name in (SPENT, PAID, GROSS, COST, GOT, SOLD, GAINED, RECEIVED):
        carried[name] = 0.0
    carried[STOP], carried[TARGET] = -np.inf, np.inf
    whole[COUNT] += 1


@njit_inlined
def _entry_price(open_: float, high: float, low: float, carried: Floats, whole: Ints) -> tuple[float, int]:
    """(price, where in the bar) at which the waiting entry meets it; price 0 for not at all."""
    trigger = carried[TRIGGER]
    if whole[KIND] == LIMIT:
        if open_ <= trigger * (1.0 + TOUCH):
            return open_, OPEN_FILL
        return (trigger, INSIDE_FILL) if low < trigger * (1.0 - TOUCH) else (0.0, OPEN_FILL)
    if whole[KIND] == STOP_ENTRY:
        if open_ >= trigger * (1.0 - TOUCH):
            return open_, OPEN_FILL
        return (trigger, INSIDE_FILL) if high >= trigger * (1.0 - TOUCH) else (0.0, OPEN_FILL)
    return open_, OPEN_FILL


@njit_inlined
def _exit_inside(
    bar: tuple[float, float, float, float], entered: float, limited: bool, carried: Floats, rules: Rules
) -> tuple[int, float]:
    """(reason, price) of the exit that a bar sets off, (0, 0) for none; its open comes first, a stop before a
    profit after it. entered: price of an entry inside this bar, 0 for none; limited: it was a limit's, so
    that the low comes after it and the high may not."""
    open_, high, low, close = bar
    trailing = rules.trailing_stop > 0.0
    first = entered if entered > 0.0 else open_
    if limited:
        high = max(entered, close)
    carried[HIGHEST] = max(carried[HIGHEST], first)
    trail = carried[HIGHEST] * (1.0 - rules.trailing_stop) if trailing else -np.inf
    stop = max(carried[STOP], trail)
    if first >= carried[TARGET] * (1.0 - TOUCH) and first > stop * (1.0 + TOUCH):
        return TAKE_PROFIT, max(first, carried[TARGET])
    if low <= stop * (1.0 + TOUCH):
        return STOP_LOSS if carried[STOP] >= trail * (1.0 - TOUCH) else TRAILING_STOP, min(first, stop)
    if high >= carried[TARGET] * (1.0 - TOUCH):
        return TAKE_PROFIT, carried[TARGET]
    if trailing and high > carried[HIGHEST]:
        carried[HIGHEST] = high
        trail = high * (1.0 - rules.trailing_stop)
        if low <= trail * (1.0 + TOUCH) and not limited:
            return TRAILING_STOP, trail
    return STILL_OPEN, 0.0


@njit_inlined
def _may_buy(
    candle: int,
    now_ms: int,
    close: float,
    carried: Floats,
    whole: Ints,
    rules: Rules,
    memory: Ints,
    weight: float,
) -> bool:
    """As `exits._may_buy`: whether the risk gate lets a buy through; notes what it may spend."""
    if holds_up(memory, rules, candle, now_ms, whole[SILENT], carried[BEFORE], close) or lost_too_much(
        memory, rules, whole[DAY], carried[DAY_VALUE], carried[PEAK], carried[LAST_VALUE]
    ):
        return False
    wanted = rules.amount + carried[CASH] * weight
    most = min(carried[CASH] * rules.fraction, rules.most)
    carried[BUDGET] = min(wanted, most) if wanted > 0.0 else 0.0
    return bool(carried[BUDGET] > 0.0)


@njit_inlined
def _want(
    candle: int,
    now_ms: int,
    close: float,
    carried: Floats,
    whole: Ints,
    rules: Rules,
    memory: Ints,
    terms: Terms,
    weight: float,
) -> None:
    """Give an entry order, if the risk gate lets it through."""
    if _may_buy(candle, now_ms, close, carried, whole, rules, memory, weight):
        remember_order(memory, now_ms)
        whole[ORDER], whole[DECIDED], whole[KIND] = 1, candle, terms.kind
        whole[EXPIRES], whole[FRESH] = now_ms + terms.expires_ms, 1
        away = terms.offset if terms.kind == STOP_ENTRY else -terms.offset
        carried[TRIGGER] = close * (1.0 + away)


@njit_inlined
def _decide(
    candle: int,
    now_ms: int,
    side: int,
    close: float,
    carried: Floats,
    whole: Ints,
    rules: Rules,
    memory: Ints,
    terms: Terms,
    weight: float,
) -> None:
    """What a signal (1 buy, −1 sell, 0 none), the time and an order's age make of the order that waits."""
    if whole[ORDER] > 0 and whole[KIND] != MARKET and now_ms >= whole[EXPIRES]:
        whole[ORDER] = 0
    protecting = whole[ORDER] < 0 and whole[WHY] != SIGNAL and whole[WHY] != TIME
    if side != 0 and not protecting:
        against = whole[ORDER] != 0 and whole[ORDER] != side
        if against:
            whole[ORDER] = 0
        if whole[ORDER] == 0 and side < 0 and carried[COINS] > 0.0:
            whole[ORDER], whole[WHY], whole[DECIDED], whole[KIND] = -1, SIGNAL, candle, MARKET
        elif whole[ORDER] == 0 and side > 0 and carried[COINS] == 0.0 and not against:
            _want(candle, now_ms, close, carried, whole, rules, memory, terms, weight)
    timed = carried[COINS] > 0.0 and 0 <= rules.longest_ms <= now_ms - whole[ENTERED]
    if whole[ORDER] == 0 and timed:
        whole[ORDER], whole[WHY], whole[KIND] = -1, TIME, MARKET


@njit_inlined
def _new_day(day: int, carried: Floats, whole: Ints, by_day: Floats, terms: Terms) -> None:
    """Fees of a UTC day from the value traded in the days before it."""
    days = by_day.size
    by_day[whole[DAY] % days] = carried[TURNOVER]
    carried[TURNOVER] = 0.0
    for k in range(max(whole[DAY] + 1, day - days + 1), day + 1):
        by_day[k % days] = 0.0
    value = by_day.sum()
    for n in range(terms.tiers.shape[0]):
        if value >= terms.tiers[n, 0]:
            carried[MAKER], carried[TAKER] = terms.tiers[n, 1], terms.tiers[n, 2]
    whole[DAY] = day
    carried[DAY_VALUE] = carried[LAST_VALUE]


@njit_inlined
def _enter(
    b: int, candle: int, bars: Bars, carried: Floats, whole: Ints, rules: Rules, terms: Terms, book: Book
) -> tuple[float, bool]:
    """The entry that waits meets a bar; (price, limit or not) of an entry inside it, price 0 for none."""
    price, where = _entry_price(bars.open[b], bars.high[b], bars.low[b], carried, whole)
    fresh, whole[FRESH] = whole[FRESH], 0
    if price == 0.0:
        return 0.0, False
    limited = whole[KIND] == LIMIT
    new = carried[COINS] == 0.0
    if new:
        _begin_trip(candle, 2 * b + where, carried, whole, book)
        whole[ENTERED] = bars.closed[candle]
    buy(price, bars.volume[b], limited and (where == INSIDE_FILL or fresh == 0), carried, whole, rules, terms)
    if whole[KIND] == STOP_ENTRY:
        whole[KIND] = MARKET  # what is left of it follows the market
    # More of a position that was there before the bar: all of the bar counts for its exits.
    inside = new and where == INSIDE_FILL
    return (price, limited) if inside else (0.0, False)


@njit_inlined
def _leave(
    b: int,
    candle: int,
    price: float,
    where: int,
    bars: Bars,
    carried: Floats,
    whole: Ints,
    rules: Rules,
    memory: Ints,
    terms: Terms,
    book: Book,
) -> None:
    """The sale that waits meets a price."""
    if sell(price, bars.volume[b], carried, rules, terms):
        spent, gained = carried[SPENT], carried[GAINED] - carried[SPENT]
        remember_exit(memory, candle, bars.closed[candle], whole[DAY], spent, gained)
        _end_trip(candle, 2 * b + where, whole[WHY], 0.0, carried, whole, book)
        whole[ORDER] = 0


@njit_inlined
def _trade(
    b: int,
    candle: int,
    bars: Bars,
    carried: Floats,
    whole: Ints,
    rules: Rules,
    memory: Ints,
    terms: Terms,
    book: Book,
) -> None:
    """A bar with trades: the order that waits, then the protective exits."""
    entered, limited = 0.0, False
    if whole[ORDER] > 0:
        entered, limited = _enter(b, candle, bars, carried, whole, rules, terms, book)
    elif whole[ORDER] < 0:
        _leave(b, candle, bars.open[b], OPEN_FILL, bars, carried, whole, rules, memory, terms, book)
    if carried[COINS] > 0.0 and whole[ORDER] >= 0:
        bar = (bars.open[b], bars.high[b], bars.low[b], bars.close[b])
        reason, price = _exit_inside(bar, entered, limited, carried, rules)
        if reason != STILL_OPEN:
            whole[ORDER], whole[WHY], whole[KIND] = -1, reason, MARKET
            _leave(b, candle, price, INSIDE_FILL, bars, carried, whole, rules, memory, terms, book)


@njit
def walk_orders(
    bars: Bars,
    buys: Bools,
    sells: Bools,
    weights: Floats,
    rules: Rules,
    terms: Terms,
    cash: float,
    memory: Ints,
    book: Book,
) -> tuple[int, int]:
    """Round trips and candles that closed with a position; fills the book.

    buys, sells: at each candle's close, never both · weights: part of equity a buy spends, for every candle
    or one for all · memory: of the risk gate, new
    """
    carried, whole = np.zeros(CARRIED), np.zeros(WHOLE, np.int64)
    carried[CASH], carried[DAY_VALUE], carried[LAST_VALUE], carried[PEAK] = cash, cash, cash, cash
    carried[STOP], carried[TARGET] = -np.inf, np.inf
    by_day = np.zeros(TIER_DAYS + 1)
    whole[DAY] = bars.day[0] - 1
    held, candle, busy, many = 0, 0, False, weights.size > 1
    # Taken out of their tuples once: inside the loop that would count references at every bar.
    closes, traded, ends, days, equity = bars.close, bars.traded, bars.ends, bars.day, book.equity
    closed = bars.closed
    for b in range(closes.size):
        if days[b] != whole[DAY]:
            _new_day(days[b], carried, whole, by_day, terms)
        if traded[b]:
            busy = True
            if whole[ORDER] != 0 or carried[COINS] > 0.0:
                _trade(b, candle, bars, carried, whole, rules, memory, terms, book)
        if ends[b] < 0:
            continue
        whole[SILENT] = 0 if busy else whole[SILENT] + 1
        close = closes[b]
        carried[LAST_VALUE] = carried[CASH] + carried[COINS] * close
        carried[PEAK] = max(carried[PEAK], carried[LAST_VALUE])
        if rules.halts and lost_too_much(
            memory, rules, whole[DAY], carried[DAY_VALUE], carried[PEAK], carried[LAST_VALUE]
        ):
            memory[HALTED] = 1
        equity[candle] = carried[LAST_VALUE]
        held += carried[COINS] > 0.0
        side = 1 if buys[candle] else -1 if sells[candle] else 0
        weight, now_ms = weights[candle if many else 0], closed[candle]
        _decide(candle, now_ms, side, close, carried, whole, rules, memory, terms, weight)
        carried[BEFORE] = close
        candle, busy = candle + 1, False
    book.left[0] = carried[COINS]
    if carried[COINS] > 0.0:
        last = closes.size - 1
        _end_trip(-1, 2 * last + 1, STILL_OPEN, closes[last], carried, whole, book)
    return whole[COUNT], held
