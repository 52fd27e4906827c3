"""Orders and what became of them."""

from decimal import Decimal
from enum import StrEnum

import msgspec

from core.fills import Fill
from core.trades import Side


class OrderStatus(StrEnum):
    """open ──▶ filled | cancelled | rejected; an order that was vetoed begins as rejected."""

    OPEN = "open"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"


class OrderType(StrEnum):
    """market: at the next price; stop and take_profit: protective exits, at their trigger."""

    MARKET = "market"
    STOP = "stop"
    TAKE_PROFIT = "take_profit"


class Order(msgspec.Struct, frozen=True):
    """One order of a bot.

    signal_id: the signal at whose candle it was decided
    timestamp_ms: decision time, the close of that candle
    price: the price it was decided at (the candle's close, or the trigger), quote per base
    quantity: base currency; an estimate while a market buy is open, which is bounded by what it may spend
    reason: why it was rejected or cancelled, or what set off a protective exit
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


class Execution(msgspec.Struct, frozen=True):
    """A fill of an order, and what it did to the account: profit realised (None for a buy), cash after it."""

    order: Order
    fill: Fill
    pnl: Decimal | None
    cash_after: Decimal
