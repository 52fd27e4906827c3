"""Orders meet prices: the one paper exchange of live bots, exact, bar by bar.

The rules are those of the backtest's kernel of orders (`pipelines.backtest.orders`), and a property test
runs both on the same bars. At each bar the order that waits comes first, at the bar's open or where the bar
touches it; then the protective orders. An entry inside a bar has only part of its path behind it: the low
counts against a stop in any case, the high for a profit only where it must have come later. The open comes
first: beyond the profit's price it takes the profit. Of a stop and a profit after it, inside one bar, the
stop counts: the path inside is not known, so the worse one is taken.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from core.accounts import ZERO, Account, Bar, Matching, Outcome, Rules
from core.fills import TIER_DAYS, Fill, bought, exact, sellable, sold, too_small
from core.ids import decision_id
from core.orders import Execution, Order, OrderStatus, OrderType, advance
from core.risk import DAY_MS, ExitReason, spendable
from core.trades import Side

_EXIT_REASONS = {
    OrderType.STOP: ExitReason.STOP_LOSS,
    OrderType.TAKE_PROFIT: ExitReason.TAKE_PROFIT,
    OrderType.TRAILING_STOP: ExitReason.TRAILING_STOP,
}


class Meeting(msgspec.Struct, frozen=True):
    """Where a waiting buy meets a bar. inside: not at its open; maker: it had rested at that price."""

    price: Decimal
    inside: bool = False
    maker: bool = False


def meeting(order: Order, bar: Bar) -> Meeting | None:
    """Where a waiting buy meets a bar; None when it does not."""
    rests_at = order.rests_at
    if rests_at is not None:
        if bar.open <= rests_at:
            return Meeting(bar.open, maker=not order.fresh)
        return Meeting(rests_at, inside=True, maker=True) if bar.low < rests_at else None
    trigger, limit = order.waits_for, order.limit
    if trigger is None:
        return Meeting(bar.open)
    if bar.open < trigger:
        return Meeting(trigger, inside=True) if bar.high >= trigger else None
    if limit is None or bar.open <= limit:
        return Meeting(bar.open)
    return Meeting(limit, inside=True, maker=True) if bar.low < limit else None


def match(
    rules: Rules,
    account: Account,
    bars: Sequence[Bar],
    candle_close_ms: int,
    kill_switch: bool = False,
    final: bool = False,
) -> Outcome:
    """The account's orders meet bars of the candle that closes at `candle_close_ms`, oldest first.

    kill_switch: while it is on no protective order is placed or set off; final: these are the last bars of
    the candle, after which a trailing stop is told as far as it has come
    """
    desk = Desk(rules, account, candle_close_ms, kill_switch)
    if bars:
        desk.adopt(bars[0])
        desk.protect(bars[0].begins_ms)
    for bar in bars:
        if bar.volume > 0:
            desk.meet(bar)
    if final:
        desk.protect(candle_close_ms, follow=True)
    return desk.outcome(bars[-1] if bars else None)


def match_open(rules: Rules, account: Account, price: Decimal, at_ms: int, candle_close_ms: int) -> Outcome:
    """The market order that waits meets the first trade of a candle, whose rest is not known yet."""
    desk = Desk(rules, account, candle_close_ms, kill_switch=False)
    desk.meet_open(Bar(at_ms, at_ms, price, price, price, price, ZERO))
    return desk.outcome(None)


def could_touch(rules: Rules, account: Account, low: Decimal, high: Decimal) -> bool:
    """Whether prices between `low` and `high`, in whatever order, could fill or set off anything.

    Where they could not, the bars in between need not be looked at: one bar of that range does the same.
    """
    order = account.open_order
    if order is not None:
        if order.side is Side.SELL or order.order_type is OrderType.MARKET or order.triggered:
            return True
        if low <= order.trigger if order.order_type is OrderType.LIMIT else high >= order.trigger:  # type: ignore[operator]
            return True
    if not sellable(rules.instrument, account.portfolio.quantity):
        return False
    wanted = _levels(rules, account, max(account.matching.highest, high))
    return any(
        high >= level if kind is OrderType.TAKE_PROFIT else low <= level for kind, level in wanted.items()
    )


def _levels(rules: Rules, account: Account, highest: Decimal) -> dict[OrderType, Decimal]:
    """Triggers of the protective orders that a position should have."""
    average, limits, coin = account.portfolio.average_cost(), rules.limits, rules.instrument
    if average is None:
        return {}
    levels = {}
    if limits.stop_loss is not None:
        levels[OrderType.STOP] = average * (1 - limits.stop_loss)
    if limits.take_profit is not None:
        levels[OrderType.TAKE_PROFIT] = average * (1 + limits.take_profit)
    if limits.trailing_stop is not None:
        levels[OrderType.TRAILING_STOP] = highest * (1 - limits.trailing_stop)
    if not rules.ticks:
        return levels
    with exact():
        return {
            kind: coin.price_above(level) if kind is OrderType.TAKE_PROFIT else coin.price_below(level)
            for kind, level in levels.items()
        }


class Desk:
    """An account while prices meet its orders; `outcome` says what has changed since the beginning.

    Parameters
    ----------
    candle_close_ms: of the candle that the prices belong to
    kill_switch: holds up the protective orders, like every other
    """

    def __init__(self, rules: Rules, account: Account, candle_close_ms: int, kill_switch: bool) -> None:
        self._rules = rules
        self._account = account
        self._candle_close_ms = candle_close_ms
        self._kill_switch = kill_switch
        self._changed: dict[str, Order] = {}
        self._executions: list[Execution] = []
        self._day = 0

    def adopt(self, bar: Bar) -> None:
        """A position of which nothing is remembered counts from here on."""
        if self._account.matching.entered_ms is None and self._holding:
            self._update_matching(highest=bar.open, entered_ms=self._candle_close_ms)

    def meet(self, bar: Bar) -> None:
        """A bar with trades: the order that waits, then the protective orders."""
        self._guard(bar, self.meet_open(bar))

    def meet_open(self, bar: Bar) -> Meeting | None:
        """The order that waits, and nothing else, meets a bar; returns where inside it a position began."""
        self._day = bar.begins_ms // DAY_MS
        order = self._account.open_order
        if order is not None and order.side is Side.BUY:
            return self._enter(order, bar)
        if order is not None:
            self._sell(order, bar.open, bar.begins_ms, bar.volume)
        return None

    def protect(self, at_ms: int, signal_id: str | None = None, follow: bool = False) -> None:
        """Have the protective orders that the limits want for what is held: place, amend or withdraw.

        signal_id: of the entry; None: the last judged candle's; follow: the trailing stop is amended too,
        which happens once a candle, however often it was looked at. They rest while a sale is under way.
        """
        account, rules, holding = self._account, self._rules, self._holding
        if self._kill_switch or self._sells or not (holding or account.protection):
            return
        levels = _levels(rules, account, account.matching.highest) if holding else {}
        old = {order.order_type: order for order in account.protection}
        for kind in sorted(old.keys() - levels.keys()):
            why = "its limit was taken away" if holding else "nothing is left to protect"
            self._put(advance(old.pop(kind), OrderStatus.CANCELLED, reason=why))
        with exact():
            quantity = rules.instrument.floor_size(account.portfolio.quantity)
        kept: list[Order] = []
        for kind, level in levels.items():
            order = old.get(kind)
            if order is not None and kind is OrderType.TRAILING_STOP and not follow:
                level = order.price
            if order is None:
                order = self._protective(kind, level, quantity, at_ms, signal_id, kept)
                self._put(order)
            elif (order.trigger, order.quantity) != (level, quantity):
                order = msgspec.structs.replace(order, trigger=level, price=level, quantity=quantity)
                self._put(order)
            kept.append(order)
        self._update(protection=tuple(kept))

    def outcome(self, last: Bar | None) -> Outcome:
        """What changed; last: the newest bar that the orders have met."""
        if last is not None:
            self._update_matching(matched_ms=last.ends_ms, matched_id=last.trade_id)
        return Outcome(self._account, tuple(self._changed.values()), tuple(self._executions))

    def _protective(
        self,
        kind: OrderType,
        level: Decimal,
        quantity: Decimal,
        at_ms: int,
        signal_id: str | None,
        others: Sequence[Order],
    ) -> Order:
        placed = self._account.matching.placed + 1
        self._update_matching(placed=placed)
        name = decision_id(self._rules.bot_name, at_ms, placed)
        judged_ms = self._account.last_candle_ms
        return Order(
            id=name,
            signal_id=signal_id
            or decision_id(self._rules.bot_name, at_ms if judged_ms is None else judged_ms),
            side=Side.SELL,
            order_type=kind,
            timestamp_ms=at_ms,
            price=level,
            quantity=quantity,
            trigger=level,
            oco=others[0].oco if others else name,
        )

    def _enter(self, order: Order, bar: Bar) -> Meeting | None:
        """The buy that waits meets a bar; returns where, if it began a position inside it."""
        met = meeting(order, bar)
        trigger = order.waits_for
        changes: dict[str, Any] = {"fresh": False} if order.fresh else {}
        if trigger is not None and bar.high >= trigger:
            changes["triggered"] = True
        if changes:
            order = msgspec.structs.replace(order, **changes)
            self._put(order)
            self._update(open_order=order)
        if met is None:
            return None
        new = order.filled_quantity == 0
        at_ms = bar.ends_ms if met.inside else bar.begins_ms
        if not self._buy(order, met, at_ms, bar.volume):
            return None
        return met if new and met.inside else None

    def _buy(self, order: Order, met: Meeting, at_ms: int, volume: Decimal) -> bool:
        """Spend what the bar's volume allows of the budget; whether anything was bought."""
        rules, portfolio = self._rules, self._account.portfolio
        coin, costs = rules.instrument, rules.costs
        budget = spendable(rules.limits, portfolio, order.price) if order.budget is None else order.budget
        with exact():
            budget, most = min(budget, portfolio.cash), costs.most(volume)
            wanted = budget / met.price
            size = wanted if most is None else min(wanted, most)
            paid = met.price if met.maker else costs.market_price(Side.BUY, met.price, size, volume)
            cap = order.rests_at
            paid = paid if cap is None else min(paid, cap)
            affordable = coin.floor_size(budget / paid)
            quantity = affordable if most is None else min(affordable, coin.floor_size(most))
        refusal = too_small(coin, affordable) if order.filled_quantity == 0 else None
        if refusal is not None:
            self._end(order, OrderStatus.REJECTED, reason=refusal.reason)
        elif affordable == 0:
            self._end(order, OrderStatus.FILLED, quantity=order.filled_quantity)
        if refusal is not None or quantity == 0:
            return False
        fill = bought(quantity, paid, costs.fee_of(met.maker, self._traded_before()), at_ms)
        if order.filled_quantity == 0:
            self._update_matching(highest=ZERO, entered_ms=self._candle_close_ms, gained=ZERO)
        self._update_matching(highest=max(self._account.matching.highest, met.price))
        self._settle(order, fill, budget + fill.quote_change, complete=quantity == affordable)
        self.protect(at_ms, order.signal_id)
        return True

    def _sell(self, order: Order, price: Decimal, at_ms: int, volume: Decimal) -> None:
        """Sell what the bar's volume allows of everything."""
        rules, held = self._rules, self._account.portfolio.quantity
        coin, costs = rules.instrument, rules.costs
        with exact():
            most, everything = costs.most(volume), coin.floor_size(held)
            quantity = everything if most is None else min(everything, coin.floor_size(most))
            got = costs.market_price(Side.SELL, price, quantity, volume)
        refusal = too_small(coin, everything) if order.filled_quantity == 0 else None
        if refusal is not None:
            self._end(order, OrderStatus.REJECTED, reason=refusal.reason)
        elif quantity > 0:
            fill = sold(quantity, got, costs.fee_of(False, self._traded_before()), at_ms)
            self._settle(order, fill, None, complete=quantity == everything)

    def _settle(self, order: Order, fill: Fill, budget: Decimal | None, complete: bool) -> None:
        """Book a fill: the order, the portfolio, what this round trip remembers."""
        portfolio, matching = self._account.portfolio, self._account.matching
        pnl = portfolio.pnl_of(fill)
        after = portfolio.apply(fill, closes=complete, gained=matching.gained)
        filled = order.filled_quantity + fill.quantity
        done = advance(
            order,
            OrderStatus.FILLED if complete else OrderStatus.PARTIALLY_FILLED,
            filled_quantity=filled,
            quantity=filled if complete else order.quantity,
            budget=budget,
            fills=order.fills + 1,
        )
        self._put(done)
        self._executions.append(Execution(done, fill, pnl, after.cash))
        self._update(portfolio=after, open_order=None if complete else done)
        self._count(fill)
        if pnl is None:
            return
        self._update_matching(gained=matching.gained + pnl)
        if complete:
            self._cancel_protection(f"the position was closed by {order.reason or 'a signal'}")
            self._update_matching(highest=ZERO, entered_ms=None, gained=ZERO)

    def _guard(self, bar: Bar, entered: Meeting | None) -> None:
        """The protective orders meet a bar; entered: where inside this bar the position began."""
        if self._account.matching.entered_ms is None or self._sells:
            return
        limited = entered is not None and entered.maker
        first = bar.open if entered is None else entered.price
        high = max(first, bar.close) if limited else bar.high
        highest = max(self._account.matching.highest, first)
        self._update_matching(highest=max(highest, high))
        resting = {} if self._kill_switch else {order.order_type: order for order in self._account.protection}
        stop, target = resting.get(OrderType.STOP), resting.get(OrderType.TAKE_PROFIT)
        trail = resting.get(OrderType.TRAILING_STOP)
        stops = [(order, order.price) for order in (stop,) if order]
        stops += [(order, self._trail(highest)) for order in (trail,) if order]
        nearest, level = max(stops, key=lambda pair: pair[1], default=(None, ZERO))
        at_open = target is not None and first >= target.price and (nearest is None or first > level)
        if nearest is not None and bar.low <= level and not at_open:
            self._set_off(nearest, min(first, level), bar)
        elif target is not None and high >= target.price:
            self._set_off(target, max(first, target.price), bar)
        elif trail is not None and not limited and high > highest and bar.low <= self._trail(high):
            self._set_off(trail, self._trail(high), bar)

    def _trail(self, highest: Decimal) -> Decimal:
        return _levels(self._rules, self._account, highest)[OrderType.TRAILING_STOP]

    def _set_off(self, order: Order, price: Decimal, bar: Bar) -> None:
        """One of the protective orders ends the position: the others go, and so does a buy's rest."""
        reason = _EXIT_REASONS[order.order_type].value
        why = f"the position was closed by {reason}"
        if self._account.open_order is not None:
            self._end(self._account.open_order, OrderStatus.CANCELLED, reason=why)
        self._cancel_protection(why, but=order.id)
        order = msgspec.structs.replace(order, triggered=True, price=price, reason=reason)
        self._put(order)
        self._update(open_order=order)
        self._sell(order, price, bar.ends_ms, bar.volume)

    def _cancel_protection(self, reason: str, but: str | None = None) -> None:
        for order in self._account.protection:
            if order.id != but:
                self._put(advance(order, OrderStatus.CANCELLED, reason=reason))
        self._update(protection=())

    def _end(self, order: Order, status: OrderStatus, **changes: Any) -> None:
        self._put(advance(order, status, **changes))
        self._update(open_order=None)

    def _put(self, order: Order) -> None:
        self._changed[order.id] = order

    def _update(self, **changes: Any) -> None:
        self._account = msgspec.structs.replace(self._account, **changes)

    def _update_matching(self, **changes: Any) -> None:
        self._update(matching=msgspec.structs.replace(self._account.matching, **changes))

    @property
    def _holding(self) -> bool:
        return sellable(self._rules.instrument, self._account.portfolio.quantity)

    @property
    def _sells(self) -> bool:
        order = self._account.open_order
        return order is not None and order.side is Side.SELL

    def _traded_before(self) -> Decimal:
        """Value traded in the UTC days before, as far as fees look back."""
        today, days = self._day, self._account.matching.traded.items()
        return sum((value for day, value in days if today - TIER_DAYS <= day < today), ZERO)

    def _count(self, fill: Fill) -> None:
        today = self._day
        days = {d: v for d, v in self._account.matching.traded.items() if d >= today - TIER_DAYS}
        with exact():
            days[today] = days.get(today, ZERO) + fill.quantity * fill.price
        self._update_matching(traded=days)


def begin_candle(matching: Matching, close_ms: int) -> Matching:
    """After a candle was judged: the next one begins with its first bar."""
    return msgspec.structs.replace(matching, matched_ms=close_ms, matched_id=0, since_ms=0)
