"""Orders, the states they go through, and what became of them.

                 ┌───────────────────────────┬──────────▶ rejected   (by a veto or the instrument's rules)
                 │                           │
    (decided) ───┴──▶ open ──────────────────┼──────────▶ filled
                       │                     │
                       └──▶ partially_filled ┴──────────▶ filled, cancelled, expired
                             │         ▲     (open: cancelled, expired too)
                             └─────────┘

`advance` enforces it: no order changes in another way.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from core.fills import Fill
from core.trades import Side


class OrderStatus(StrEnum):
    """Where an order is in the diagram above."""

    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REJECTED = "rejected"


WORKING = frozenset({OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED})
"""States from which an order can still be filled."""

_MOVES: dict[OrderStatus, frozenset[OrderStatus]] = {
    OrderStatus.OPEN: frozenset(OrderStatus) - {OrderStatus.OPEN},
    OrderStatus.PARTIALLY_FILLED: frozenset(
        {OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED}
    ),
}


class IllegalOrderMove(ValueError):
    """A change of an order's state that the diagram does not have: a bug, never a user's mistake."""


class OrderType(StrEnum):
    """market: at the next price · limit: when the price trades through it · stop: at the market once its
    trigger is touched · stop_limit: a limit from then on · take_profit: a stop on the winning side ·
    trailing_stop: a stop that follows the highest price since the entry."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TAKE_PROFIT = "take_profit"
    TRAILING_STOP = "trailing_stop"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One order of a bot.

    signal_id: the signal at whose candle it was decided
    timestamp_ms: decision time: the close of that candle, or the fill that a protective order protects
    price: the price it was decided at (the candle's close, or the trigger), quote per base
    quantity: base currency; an estimate while a buy is open, which is bounded by what it may spend
    reason: why it was rejected, cancelled or withdrawn, or what a sale that is no signal follows
    trigger: of a limit its price, of the others what sets them off; limit: price of a stop_limit after that
    budget: quote currency that a buy may still spend
    expires_ms: candle close at which it is withdrawn; None: never
    oco: orders with the same name here cancel each other: the first to be set off is the only one
    triggered: set off; what is left of it follows the market (a stop_limit: rests at its limit)
    fresh: no price has met it yet, so it cannot have rested
    fills: executions so far
    """

    id: str
    signal_id: str
    side: Side
    order_type: OrderType
    timestamp_ms: int
    price: Decimal
    quantity: Decimal
    filled_quantity: Decimal = Decimal(0)
    status: OrderStatus = OrderStatus.OPEN
    reason: str | None = None
    trigger: Decimal | None = None
    limit: Decimal | None = None
    budget: Decimal | None = None
    expires_ms: int | None = None
    oco: str | None = None
    triggered: bool = False
    fresh: bool = True
    fills: int = 0

    @property
    def rests_at(self) -> Decimal | None:
        """The price at which it rests as a limit; None while it is none."""
        if self.order_type is OrderType.LIMIT:
            return self.trigger
        return self.limit if self.order_type is OrderType.STOP_LIMIT and self.triggered else None

    @property
    def waits_for(self) -> Decimal | None:
        """The trigger that is not touched yet; None when there is none, or it was."""
        if self.triggered or self.order_type in {OrderType.MARKET, OrderType.LIMIT}:
            return None
        return self.trigger

    @property
    def is_protective(self) -> bool:
        """Whether it ends a position by itself."""
        return self.oco is not None


def advance(order: Order, status: OrderStatus, **changes: Any) -> Order:
    """The order in another state, with other fields if given. IllegalOrderMove if the diagram has no such
    way."""
    if status not in _MOVES.get(order.status, frozenset()):
        raise IllegalOrderMove(f"order {order.id} cannot go from {order.status} to {status}")
    return msgspec.structs.replace(order, status=status, **changes)


class BookLevel(msgspec.Struct, frozen=True):
    """The level of an order book that a fill took from. timestamp_ms: exchange time of the book's newest
    change; sequence: the exchange's number of that state; size: what the level showed, base currency."""

    timestamp_ms: int
    sequence: int | None
    price: Decimal
    size: Decimal


class Execution(msgspec.Struct, frozen=True):
    """A fill of an order, and what it did to the account.

    order: as of after the fill; pnl: profit realised, None for a buy; cash_after: of the account
    recovered: found by replaying what was missed, after the bot had been down
    level: of the order book, if that filled it
    """

    order: Order
    fill: Fill
    pnl: Decimal | None
    cash_after: Decimal
    recovered: bool = False
    level: BookLevel | None = None

    @property
    def id(self) -> str:
        """The order's id; of its further fills with their number."""
        return self.order.id if self.order.fills <= 1 else f"{self.order.id}.{self.order.fills}"
