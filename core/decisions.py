"""What a bot does at a candle: pure, exact, the same on time, late and after a crash.

The order of events at the final candle that closes at t:

1. Orders meet the candle's bars (`core.matching`): what waits, then what protects the position. A market
   order decided at an earlier candle is filled at this candle's open, if the candle has trades and the order
   was not filled before (from the running candle, whose open is the same first trade).
2. An entry that has waited for as long as it may is withdrawn.
3. The strategy's signal for t becomes an order, unless the risk gate objects or there is nothing to do; a
   position that has been held for as long as it may is sold.
4. The account is valued at the close.

While the kill switch is on, whatever waits is withdrawn in place of step 1, and nothing is sent.
"""

from collections.abc import Callable, Sequence
from decimal import ROUND_DOWN, Decimal

import msgspec

from core.accounts import Account, Bar, Entry, Matching, Outcome, Path, Rules, Sizing
from core.candles import Candle
from core.fills import QUANTUM, Fill, Refusal, exact, market_buy, market_sell, sellable
from core.ids import decision_id
from core.matching import begin_candle, match, match_open
from core.orders import Order, OrderStatus, OrderType, advance
from core.portfolio import Portfolio
from core.risk import KILL_SWITCH, spendable, veto
from core.signals import Signal, SignalType
from core.trades import Side

__all__ = [
    "Account",
    "Admit",
    "Bar",
    "Entry",
    "Gate",
    "Matching",
    "Outcome",
    "Path",
    "Rules",
    "Sizing",
    "fill_open_order",
    "judge",
    "observe",
    "withdraw",
]
Admit = Callable[[Order, Portfolio], str | None]
"""Asked about a buy that the bot's own limits allow, with the account as it is then: why it must not be sent
all the same; None if it may."""
TIME = "time"
"""Reason of a sale after the longest time of holding."""
_STRATEGYS = frozenset({None, TIME})
"""Reasons of sales that a buy signal withdraws; any other is a protective order under way."""


def fill_open_order(rules: Rules, account: Account, running: Candle) -> Outcome:
    """The market order that waits meets the first trade after its decision: the running candle's open."""
    return match_open(rules, account, running.open, running.open_ms, running.close_ms)


class Gate(msgspec.Struct, frozen=True):
    """What an order has to pass beside the bot's own limits; see `judge`."""

    kill_switch: bool = False
    age_ms: int | None = None
    admit: Admit | None = None


def withdraw(account: Account, reason: str) -> Outcome:
    """Take back every order that waits."""
    waiting = [order for order in (account.open_order, *account.protection) if order is not None]
    done = tuple(advance(order, OrderStatus.CANCELLED, reason=reason) for order in waiting)
    return Outcome(msgspec.structs.replace(account, open_order=None, protection=()), done)


def judge(
    rules: Rules,
    account: Account,
    candle: Candle,
    signal: Signal,
    kill_switch: bool,
    bars: Sequence[Bar] | None = None,
    age_ms: int | None = None,
    admit: Admit | None = None,
) -> Outcome:
    """One final candle, with the strategy's signal for it: steps 1 to 4 of the module's text.

    bars: the candle's inside that its orders have not met yet, oldest first; None: the candle as one bar
    age_ms: the exchange's time since the candle's close, if it is known; admit: the limits over all bots
    """
    withdrawn = withdraw(account, KILL_SWITCH) if kill_switch else Outcome(account)
    account = withdrawn.account
    inside = (Bar.of_candle(candle),) if bars is None else bars
    met = match(rules, account, inside, candle.close_ms, kill_switch, final=True)
    account = msgspec.structs.replace(
        met.account,
        risk=account.risk.after(candle, met.account.portfolio, rules.limits),
        last_candle_ms=candle.close_ms,
        matching=begin_candle(met.account.matching, candle.close_ms),
    )
    account, decided = _decide(rules, account, candle, signal, Gate(kill_switch, age_ms, admit))
    orders = {order.id: order for order in (*withdrawn.orders, *met.orders, *decided)}
    name = decision_id(rules.bot_name, candle.close_ms)
    return Outcome(account, tuple(orders.values()), met.executions, candle.close, name)


def observe(rules: Rules, account: Account, candle: Candle) -> Outcome:
    """A candle that closed before the bot began: it is valued and noted, but its price is past."""
    account = msgspec.structs.replace(
        account,
        risk=account.risk.after(candle, account.portfolio, rules.limits),
        last_candle_ms=candle.close_ms,
        matching=begin_candle(account.matching, candle.close_ms),
    )
    return Outcome(account, close=candle.close, signal_id=decision_id(rules.bot_name, candle.close_ms))


def _decide(
    rules: Rules, account: Account, candle: Candle, signal: Signal, gate: Gate
) -> tuple[Account, list[Order]]:
    """Steps 2 and 3: the waiting order's age, the signal, the time."""
    account, expired = _expire(account, candle.close_ms)
    account, decided = _act(rules, account, candle, signal, gate)
    account, timed = _leave_in_time(rules, account, candle, gate.kill_switch)
    return account, [*expired, *decided, *timed]


def _expire(account: Account, close_ms: int) -> tuple[Account, list[Order]]:
    order = account.open_order
    if order is None or order.expires_ms is None or order.expires_ms > close_ms:
        return account, []
    if order.order_type is OrderType.STOP and order.triggered:
        return account, []  # what is left of it follows the market
    done = advance(order, OrderStatus.EXPIRED, reason="it waited for as long as it may")
    return _with_order(account, None), [done]


def _act(
    rules: Rules, account: Account, candle: Candle, signal: Signal, gate: Gate
) -> tuple[Account, list[Order]]:
    """The order that a signal leads to; a signal against an order still open withdraws that order."""
    if signal.signal_type is SignalType.HOLD:
        return account, []
    side, done = Side(signal.signal_type.value), []
    waiting = account.open_order
    if waiting is not None:
        if waiting.side is side or waiting.reason not in _STRATEGYS:
            return account, []
        why = f"a {side} signal came before a trade to fill it"
        done = [advance(waiting, OrderStatus.CANCELLED, reason=why)]
        account = _with_order(account, None)
    holding = sellable(rules.instrument, account.portfolio.quantity)
    if holding == (side is Side.BUY) or (done and side is Side.BUY):
        return account, done
    order = _entry(rules, account, candle) if side is Side.BUY else _sale(rules, account, candle)
    reason = veto(side, rules.limits, account.risk, gate.kill_switch, gate.age_ms) or order.reason
    if reason is None and side is Side.BUY and gate.admit is not None:
        reason = gate.admit(order, account.portfolio)
    if reason is not None:
        rejected = msgspec.structs.replace(order, reason=None)
        return account, [*done, advance(rejected, OrderStatus.REJECTED, reason=reason)]
    if side is Side.BUY:
        account = msgspec.structs.replace(account, risk=account.risk.with_buy(rules.limits))
    return _with_order(account, order), [*done, order]


def _leave_in_time(
    rules: Rules, account: Account, candle: Candle, kill_switch: bool
) -> tuple[Account, list[Order]]:
    """The sale of a position that has been held for as long as it may."""
    most, entered_ms = rules.limits.max_candles, account.matching.entered_ms
    if most is None or entered_ms is None or account.open_order is not None or kill_switch:
        return account, []
    held = (candle.close_ms - entered_ms) // candle.timeframe.ms + 1
    if held < most or not sellable(rules.instrument, account.portfolio.quantity):
        return account, []
    order = msgspec.structs.replace(_sale(rules, account, candle), reason=TIME)
    return _with_order(account, order), [order]


def _entry(rules: Rules, account: Account, candle: Candle) -> Order:
    """A buy decided at the close; its reason is set when the exchange's rules do not allow it."""
    entry, portfolio, name = rules.entry, account.portfolio, decision_id(rules.bot_name, candle.close_ms)
    trigger = _entry_price(rules, candle.close)
    limit = None
    with exact():
        wanted = rules.sizing.amount + portfolio.value(candle.close) * rules.sizing.weight
        wanted = wanted.quantize(QUANTUM, ROUND_DOWN)
        if trigger is not None and entry.kind is OrderType.STOP_LIMIT:
            limit = _round(rules, trigger * (1 + entry.limit_offset), up=True)
    budget = min(wanted, spendable(rules.limits, portfolio, candle.close))
    expected = limit or trigger or candle.close
    estimate = market_buy(rules.instrument, budget, expected, rules.costs, candle.close_ms)
    waits = None if entry.kind is OrderType.MARKET else entry.expires * candle.timeframe.ms
    return Order(
        id=name,
        signal_id=name,
        side=Side.BUY,
        order_type=entry.kind,
        timestamp_ms=candle.close_ms,
        price=candle.close,
        quantity=estimate.quantity if isinstance(estimate, Fill) else Decimal(0),
        reason=estimate.reason if isinstance(estimate, Refusal) else None,
        trigger=trigger,
        limit=limit,
        budget=budget,
        expires_ms=None if waits is None else candle.close_ms + waits,
    )


def _entry_price(rules: Rules, close: Decimal) -> Decimal | None:
    """Where an entry waits: a limit below the close, a stop above it; None for one at the market."""
    entry = rules.entry
    if entry.kind is OrderType.MARKET:
        return None
    below = entry.kind is OrderType.LIMIT
    with exact():
        away = -entry.offset if below else entry.offset
        return _round(rules, close * (1 + away), up=not below)


def _round(rules: Rules, price: Decimal, up: bool) -> Decimal:
    coin = rules.instrument
    if not rules.ticks:
        return price
    return coin.price_above(price) if up else max(coin.price_below(price), coin.tick_size)


def _sale(rules: Rules, account: Account, candle: Candle) -> Order:
    """A sale at the market of all that is held; its reason is set when the exchange's rules forbid it."""
    name, held = decision_id(rules.bot_name, candle.close_ms), account.portfolio.quantity
    estimate = market_sell(rules.instrument, held, candle.close, rules.costs, candle.close_ms)
    return Order(
        id=name,
        signal_id=name,
        side=Side.SELL,
        order_type=OrderType.MARKET,
        timestamp_ms=candle.close_ms,
        price=candle.close,
        quantity=estimate.quantity if isinstance(estimate, Fill) else Decimal(0),
        reason=estimate.reason if isinstance(estimate, Refusal) else None,
    )


def _with_order(account: Account, order: Order | None) -> Account:
    return msgspec.structs.replace(account, open_order=order)
