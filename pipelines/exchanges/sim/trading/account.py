"""One API key's money and orders. No clock and no network: time and the market come in as arguments."""

import copy
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from pipelines.exchanges.sim.book import Book
from pipelines.exchanges.sim.specs import SymbolSpec
from pipelines.exchanges.sim.trading.matching import sweep, through
from pipelines.exchanges.sim.trading.orders import (
    Fill,
    Order,
    Rejected,
    State,
    Ticket,
    base_amount,
    quote_amount,
)

_KEPT = 20_000  # finished orders and fills


class Market(Protocol):
    """The market that orders meet."""

    def book(self, symbol: str, now_ms: int) -> Book:
        """The order book as of an instant."""
        ...

    def last(self, symbol: str, now_ms: int) -> int:
        """Price of the newest trade, in ticks; 0 before the first one."""
        ...


@dataclass(frozen=True)
class Fees:
    """Shares of what is received."""

    maker: Decimal
    taker: Decimal


@dataclass(frozen=True)
class Change:
    """An order as it was right after something happened to it; fill: when that was a match."""

    order: Order
    fill: Fill | None


@dataclass
class Unsaved:
    """What has happened since the account was saved: orders by their id, and fills."""

    orders: dict[str, Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)


class Account:
    """Balances, orders and fills. `changes` collects what happened until somebody takes it out.

    new_id: gives a fresh id for an order or fill made at an instant (ms)
    """

    def __init__(
        self,
        uid: str,
        balances: Mapping[str, Decimal],
        fees: Fees,
        market: Market,
        new_id: Callable[[int], str],
    ) -> None:
        self.uid = uid
        self.fees = fees
        self.cash: dict[str, Decimal] = dict(balances)
        self.open: dict[str, Order] = {}
        self.done: deque[Order] = deque(maxlen=_KEPT)
        self.fills: deque[Fill] = deque(maxlen=_KEPT)
        self.changes: list[Change] = []
        self.book_is_thin = False  # the next market order is filled in part
        self.unsaved: Unsaved | None = None  # set by whoever keeps accounts in a file
        self._market = market
        self._new_id = new_id

    def reserved(self, currency: str) -> Decimal:
        """What open orders keep of a currency."""
        kept = (order.reserved() for order in self.open.values())
        return sum((amount for name, amount in kept if name == currency), Decimal(0))

    def available(self, currency: str) -> Decimal:
        """What can be spent."""
        return self.cash.get(currency, Decimal(0)) - self.reserved(currency)

    def place(self, ticket: Ticket, now_ms: int) -> Order:
        """Accept an order and match it against the book; Rejected leaves everything as it was."""
        if ticket.cl_ord_id and self.find_open(cl_ord_id=ticket.cl_ord_id):
            raise Rejected("51016", "Client order ID already exists.")
        book = self._market.book(ticket.spec.symbol, now_ms)
        size = ticket.size
        if ticket.price:
            needed = Order("", ticket, ticket.price, size, now_ms, now_ms).reserved()
            self._check_funds(*needed)
            taken = sweep(_opposite(book, ticket), ticket.side, ticket.price, size)
        else:
            taken = self._market_fills(ticket, book)
            if self.book_is_thin:
                taken = _thinned(taken, ticket.spec.min_lots)
            size = sum(lots for _, lots in taken) if ticket.quote_sized else ticket.size
        order = Order(self._new_id(now_ms), ticket, ticket.price, size, now_ms, now_ms)
        self.open[order.ord_id] = order
        self._changed(order)
        self._execute(order, taken, now_ms)
        return order

    def cancel(self, order: Order, now_ms: int, source: str = "1") -> None:
        """End an open order; source: OKX's number for who did it (1: the user)."""
        order.cancel_source = source
        self._finish(order, State.CANCELED, now_ms)
        self._changed(order)

    def amend(self, order: Order, now_ms: int, price: int | None, size: int | None) -> None:
        """Change price (ticks) or whole size (lots, filled part included) of an open limit order."""
        if size is not None and size <= order.filled:
            raise Rejected("51513", "New size must be above the filled size.")
        old = order.price, order.size
        order.price, order.size = price or order.price, size or order.size
        currency, _ = order.reserved()
        if self.available(currency) < 0:
            order.price, order.size = old
            raise _too_little(currency)
        order.updated_ms = now_ms
        self._changed(order)
        book = _opposite(self._market.book(order.ticket.spec.symbol, now_ms), order.ticket)
        taken = sweep(book, order.ticket.side, order.price, order.size - order.filled)
        self._execute(order, taken, now_ms)

    def find_open(self, ord_id: str = "", cl_ord_id: str = "") -> Order | None:
        """An open order by the exchange's id, or by the client's."""
        if ord_id:
            return self.open.get(ord_id)
        found = (order for order in self.open.values() if order.ticket.cl_ord_id == cl_ord_id)
        return next(found, None)

    def find(self, ord_id: str = "", cl_ord_id: str = "") -> Order | None:
        """An order, open or finished: the newest of that id."""
        for order in (*self.open.values(), *reversed(self.done)):
            if order.ord_id == ord_id if ord_id else order.ticket.cl_ord_id == cl_ord_id:
                return order
        return None

    def resting(self, symbol: str) -> list[Order]:
        """Open orders of a pair, oldest first."""
        return [order for order in self.open.values() if order.ticket.spec.symbol == symbol]

    def meet_trade(self, symbol: str, price: int, lots: int, ts: int) -> None:
        """Fill resting orders that a trade of the market went through, with no more than its size."""
        passed = [o for o in self.resting(symbol) if through(o.ticket.side, o.price, price)]
        # the better priced come first, then the older
        passed.sort(key=lambda order: -order.price if order.ticket.side == "buy" else order.price)
        for order in passed:
            part = min(lots, order.size - order.filled)
            if part <= 0:
                return
            self._fill(order, order.price, part, False, ts)
            lots -= part

    def _market_fills(self, ticket: Ticket, book: Book) -> list[tuple[int, int]]:
        spec, levels = ticket.spec, _opposite(book, ticket)
        lots = None if ticket.quote_sized else ticket.size
        value = ticket.size if ticket.quote_sized else None
        taken = sweep(levels, ticket.side, 0, lots, value)
        cost = quote_amount(spec, sum(price * part for price, part in taken))
        sold = base_amount(spec, sum(part for _, part in taken))
        # a quote-sized buy is paid as it was asked for, whatever part of it the book gives
        wanted = quote_amount(spec, ticket.size) if ticket.quote_sized else cost
        needed = wanted if ticket.side == "buy" else sold
        currency = spec.quote if ticket.side == "buy" else spec.base
        available = self.available(currency)
        if needed > available:
            if ticket.ban_amend or available <= 0:
                raise _too_little(currency)
            decimals = spec.lot_decimals + (spec.tick_decimals if ticket.side == "buy" else 0)
            most = int(available.scaleb(decimals))
            if ticket.side == "buy":
                taken = sweep(levels, "buy", 0, lots, most if value is None else min(value, most))
            else:
                taken = sweep(levels, "sell", 0, most if lots is None else min(lots, most), value)
        if sum(part for _, part in taken) < spec.min_lots:
            raise (
                _too_little(currency)
                if needed > available
                else Rejected("51020", "Your order should meet or exceed the minimum order amount.")
            )
        return taken

    def _execute(self, order: Order, taken: list[tuple[int, int]], now_ms: int) -> None:
        kind, whole = order.ticket.kind, sum(lots for _, lots in taken) == order.size - order.filled
        if kind == "post_only" and taken:
            self.cancel(order, now_ms, "31")
        elif kind == "fok" and not whole:
            self.cancel(order, now_ms, "13")
        else:
            for price, lots in taken:
                self._fill(order, price, lots, True, now_ms)
            if order.open and kind in ("market", "ioc", "optimal_limit_ioc"):
                self.cancel(order, now_ms, "14")

    def _fill(self, order: Order, price: int, lots: int, taker: bool, ts: int) -> None:
        spec, rate = order.ticket.spec, self.fees.taker if taker else self.fees.maker
        base, quote = base_amount(spec, lots), quote_amount(spec, price * lots)
        buy = order.ticket.side == "buy"
        received, fee_currency = (base, spec.base) if buy else (quote, spec.quote)
        fee = received * rate
        self._add(spec, base if buy else -base, -quote if buy else quote, fee_currency, fee)
        fill = Fill(self._new_id(ts), order, price, lots, taker, fee, fee_currency, ts)
        order.filled, order.value, order.fee = (
            order.filled + lots,
            order.value + price * lots,
            order.fee + fee,
        )
        order.last_fill, order.updated_ms, order.state = fill, ts, State.PARTIALLY_FILLED
        self.fills.append(fill)
        if self.unsaved is not None:
            self.unsaved.fills.append(fill)
        if order.filled == order.size:
            self._finish(order, State.FILLED, ts)
        self._changed(order, fill)

    def _add(self, spec: SymbolSpec, base: Decimal, quote: Decimal, fee_currency: str, fee: Decimal) -> None:
        for currency, amount in ((spec.base, base), (spec.quote, quote), (fee_currency, -fee)):
            self.cash[currency] = self.cash.get(currency, Decimal(0)) + amount

    def _check_funds(self, currency: str, amount: Decimal) -> None:
        if amount > self.available(currency):
            raise _too_little(currency)

    def _finish(self, order: Order, state: State, now_ms: int) -> None:
        order.state, order.updated_ms = state, now_ms
        self.done.append(self.open.pop(order.ord_id))

    def _changed(self, order: Order, fill: Fill | None = None) -> None:
        if self.unsaved is not None:
            self.unsaved.orders[order.ord_id] = order
        self.changes.append(Change(copy.copy(order), fill))


def _thinned(taken: list[tuple[int, int]], least: int) -> list[tuple[int, int]]:
    """About half of what was taken, in two matches, and at least the smallest order."""
    price = taken[0][0]
    half = max(sum(lots for _, lots in taken) // 2, least)
    return [(price, half - half // 2), (price, half // 2)] if half > 1 else [(price, half)]


def _opposite(book: Book, ticket: Ticket) -> dict[int, tuple[int, int]]:
    return book.asks if ticket.side == "buy" else book.bids


def _too_little(currency: str) -> Rejected:
    return Rejected("51008", f"Order failed. Insufficient {currency} balance in account.")
