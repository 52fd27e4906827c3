"""What a bot does at a candle: pure, exact, the same on time, late and after a crash.

The order of events at the final candle that closes at t:

1. An order decided at an earlier candle is filled at this candle's open, if the candle has trades and the
   order was not filled before (from the running candle, whose open is the same first trade).
2. A protective exit set off inside the candle closes the position.
3. The strategy's signal for t becomes an order, unless the risk gate objects or there is nothing to do.
4. The account is valued at the close.

While the kill switch is on, an order that waits is withdrawn in place of step 1, and nothing else is sent.
"""

from collections.abc import Callable
from decimal import Decimal

import msgspec

from core.candles import Candle
from core.fills import Costs, Fill, Refusal, market_buy, market_sell, sellable
from core.ids import decision_id
from core.instruments import Instrument
from core.orders import Execution, Order, OrderStatus, OrderType
from core.portfolio import Portfolio
from core.risk import KILL_SWITCH, ExitReason, RiskLimits, RiskState, protective_exit, spendable, veto
from core.signals import Signal, SignalType
from core.trades import Side


class Rules(msgspec.Struct, frozen=True):
    """What stays the same from candle to candle."""

    bot_name: str
    instrument: Instrument
    costs: Costs
    limits: RiskLimits


class Account(msgspec.Struct, frozen=True):
    """All that a bot carries from candle to candle.

    last_candle_ms: close of the last judged candle; None: none yet, or trading was interrupted on purpose
    """

    portfolio: Portfolio
    risk: RiskState
    open_order: Order | None = None
    last_candle_ms: int | None = None


Admit = Callable[[Order], str | None]
"""Asked about a buy that the bot's own limits allow: why it must not be sent all the same; None if it may."""


class Gate(msgspec.Struct, frozen=True):
    """What an order has to pass beside the bot's own limits; see `judge`."""

    kill_switch: bool = False
    age_ms: int | None = None
    admit: Admit | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What one step changed: the account after it, and the rows that tell of it.

    orders: new and changed ones, newest version each; executions: the fills among them
    close: of the judged candle, which values the account; None for a fill between two candles
    signal_id: id for the signal of that candle
    """

    account: Account
    orders: tuple[Order, ...] = ()
    executions: tuple[Execution, ...] = ()
    close: Decimal | None = None
    signal_id: str | None = None


def fill_open_order(rules: Rules, account: Account, price: Decimal, at_ms: int) -> Outcome:
    """The open order meets the first trade after its decision: filled at `price`, or rejected."""
    order = account.open_order
    if order is None:
        return Outcome(account)
    portfolio = account.portfolio
    if order.side is Side.BUY:
        spend = spendable(rules.limits, portfolio, order.price)
        result = market_buy(rules.instrument, spend, price, rules.costs, at_ms)
    else:
        result = market_sell(rules.instrument, portfolio.quantity, price, rules.costs, at_ms)
    done, portfolio, executions = _settle(order, result, portfolio)
    return Outcome(_with(account, portfolio=portfolio, open_order=None), (done,), executions)


def withdraw(account: Account, reason: str) -> Outcome:
    """Take back the open order."""
    if account.open_order is None:
        return Outcome(account)
    withdrawn = _with_order(account.open_order, status=OrderStatus.CANCELLED, reason=reason)
    return Outcome(_with(account, open_order=None), (withdrawn,))


def judge(
    rules: Rules,
    account: Account,
    candle: Candle,
    signal: Signal,
    kill_switch: bool,
    age_ms: int | None = None,
    admit: Admit | None = None,
) -> Outcome:
    """One final candle, with the strategy's signal for it: steps 1 to 4 of the module's text.

    age_ms: the exchange's time since the candle's close, if it is known; admit: the limits over all bots
    """
    orders: list[Order] = []
    executions: list[Execution] = []
    if kill_switch:
        withdrawn = withdraw(account, KILL_SWITCH)
        account, orders = withdrawn.account, [*withdrawn.orders]
    elif account.open_order is not None and candle.volume > 0:
        filled = fill_open_order(rules, account, candle.open, candle.open_ms)
        account, orders, executions = filled.account, [*filled.orders], [*filled.executions]
    exited = _protect(rules, account, candle, kill_switch)
    orders += exited.orders
    executions += exited.executions
    risk = account.risk.after(candle, exited.account.portfolio, rules.limits)
    account = _with(
        exited.account,
        risk=risk.with_orders(_given(orders, candle), rules.limits),
        last_candle_ms=candle.close_ms,
    )
    account, decided = _act(rules, account, candle, signal, Gate(kill_switch, age_ms, admit))
    account = _with(account, risk=account.risk.with_orders(_given(decided, candle), rules.limits))
    orders += decided
    name = decision_id(rules.bot_name, candle.close_ms)
    return Outcome(account, tuple(orders), tuple(executions), candle.close, name)


def observe(rules: Rules, account: Account, candle: Candle) -> Outcome:
    """A candle that closed before the bot began: it is valued and noted, but its price is past."""
    risk = account.risk.after(candle, account.portfolio, rules.limits)
    account = _with(account, risk=risk, last_candle_ms=candle.close_ms)
    return Outcome(account, close=candle.close, signal_id=decision_id(rules.bot_name, candle.close_ms))


def _act(
    rules: Rules, account: Account, candle: Candle, signal: Signal, gate: Gate
) -> tuple[Account, list[Order]]:
    """The order that a signal leads to; a signal against an order still open withdraws that order."""
    if signal.signal_type is SignalType.HOLD:
        return account, []
    side = Side(signal.signal_type.value)
    waiting = account.open_order
    if waiting is not None:
        if waiting.side is side:
            return account, []
        withdrawn = withdraw(account, f"a {side} signal came before a trade to fill it")
        return withdrawn.account, [*withdrawn.orders]
    holding = sellable(rules.instrument, account.portfolio.quantity)
    if holding == (side is Side.BUY):
        return account, []
    order = _order(rules, account, candle, side)
    reason = veto(side, rules.limits, account.risk, gate.kill_switch, gate.age_ms) or order.reason
    if reason is None and side is Side.BUY and gate.admit is not None:
        reason = gate.admit(order)
    if reason is not None:
        return account, [_with_order(order, status=OrderStatus.REJECTED, reason=reason)]
    return _with(account, open_order=order), [order]


def _given(orders: list[Order], candle: Candle) -> int:
    """How many of these orders were given at the candle's close."""
    return sum(
        order.timestamp_ms == candle.close_ms and order.status is not OrderStatus.REJECTED for order in orders
    )


def _order(rules: Rules, account: Account, candle: Candle, side: Side) -> Order:
    """A market order decided at the close; its reason is set when the exchange's rules do not allow it."""
    portfolio, at_ms = account.portfolio, candle.close_ms
    if side is Side.BUY:
        spend = spendable(rules.limits, portfolio, candle.close)
        estimate = market_buy(rules.instrument, spend, candle.close, rules.costs, at_ms)
    else:
        estimate = market_sell(rules.instrument, portfolio.quantity, candle.close, rules.costs, at_ms)
    name = decision_id(rules.bot_name, at_ms)
    return Order(
        id=name,
        signal_id=name,
        side=side,
        order_type=OrderType.MARKET,
        timestamp_ms=at_ms,
        price=candle.close,
        quantity=estimate.quantity if isinstance(estimate, Fill) else Decimal(0),
        reason=estimate.reason if isinstance(estimate, Refusal) else None,
    )


def _protect(rules: Rules, account: Account, candle: Candle, kill_switch: bool) -> Outcome:
    """Stop-loss and take-profit inside the candle; the kill switch holds them up like every other order."""
    portfolio = account.portfolio
    exit_ = protective_exit(rules.limits, portfolio, candle)
    if exit_ is None or kill_switch or not sellable(rules.instrument, portfolio.quantity):
        return Outcome(account)
    result = market_sell(rules.instrument, portfolio.quantity, exit_.price, rules.costs, candle.close_ms)
    order = Order(
        id=decision_id(rules.bot_name, candle.close_ms, 1),
        signal_id=decision_id(rules.bot_name, candle.close_ms),
        side=Side.SELL,
        order_type=OrderType.STOP if exit_.reason is ExitReason.STOP_LOSS else OrderType.TAKE_PROFIT,
        timestamp_ms=candle.close_ms,
        price=exit_.price,
        quantity=result.quantity if isinstance(result, Fill) else Decimal(0),
        reason=exit_.reason.value,
    )
    done, portfolio, executions = _settle(order, result, portfolio)
    orders = [done]
    if account.open_order is not None:
        reason = f"the position was closed by {exit_.reason}"
        orders.append(_with_order(account.open_order, status=OrderStatus.CANCELLED, reason=reason))
    return Outcome(_with(account, portfolio=portfolio, open_order=None), tuple(orders), executions)


def _settle(
    order: Order, result: Fill | Refusal, portfolio: Portfolio
) -> tuple[Order, Portfolio, tuple[Execution, ...]]:
    if isinstance(result, Refusal):
        return _with_order(order, status=OrderStatus.REJECTED, reason=result.reason), portfolio, ()
    done = _with_order(
        order, status=OrderStatus.FILLED, quantity=result.quantity, filled_quantity=result.quantity
    )
    after = portfolio.apply(result)
    return done, after, (Execution(done, result, portfolio.pnl_of(result), after.cash),)


def _with(account: Account, **changes: object) -> Account:
    return msgspec.structs.replace(account, **changes)


def _with_order(order: Order, **changes: object) -> Order:
    return msgspec.structs.replace(order, **changes)
