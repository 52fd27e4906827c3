"""What a bot carries from candle to candle, what stays the same, and what one step changed."""

from decimal import Decimal
from typing import Literal

import msgspec

from core.candles import Candle
from core.fills import Costs
from core.instruments import Instrument
from core.orders import Execution, Order, OrderType
from core.portfolio import Portfolio
from core.risk import RiskLimits, RiskState
from core.trades import Trade

ZERO = Decimal(0)
Path = Literal["trades", "1m", "candle"]


class Bar(msgspec.Struct, frozen=True, gc=False):
    """The finest stretch at hand on which orders are judged: a trade, a minute, or a whole candle.

    trade_id: of a trade; 0 otherwise
    """

    begins_ms: int
    ends_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trade_id: int = 0

    @classmethod
    def of_candle(cls, candle: Candle) -> "Bar":
        """A candle as one bar."""
        prices = (candle.open, candle.high, candle.low, candle.close)
        return cls(candle.open_ms, candle.close_ms, *prices, candle.volume)

    @classmethod
    def of_trade(cls, trade: Trade) -> "Bar":
        """A trade as a bar of one price."""
        at, price = trade.timestamp_ms, trade.price
        return cls(at, at, price, price, price, price, trade.size, trade.trade_id)


class Entry(msgspec.Struct, frozen=True):
    """What a buy signal sends.

    kind: market, limit, stop or stop_limit; offset: of a limit or stop from the signal's close, a fraction
    limit_offset: of a stop_limit's limit above its trigger, a fraction of that
    expires: candles that it waits
    """

    kind: OrderType = OrderType.MARKET
    offset: Decimal = ZERO
    limit_offset: Decimal = ZERO
    expires: int = 1


class Sizing(msgspec.Struct, frozen=True):
    """What a buy spends: `amount` of quote currency and the part `weight` of the account's value, as far as
    the limits let it."""

    amount: Decimal = ZERO
    weight: Decimal = Decimal(1)


class Rules(msgspec.Struct, frozen=True):
    """What stays the same from candle to candle.

    ticks: prices of orders are rounded to the instrument's tick, away from the market
    path: the bars that orders are judged on
    """

    bot_name: str
    instrument: Instrument
    costs: Costs
    limits: RiskLimits
    entry: Entry = Entry()
    sizing: Sizing = Sizing()
    ticks: bool = False
    path: Path = "candle"


class Matching(msgspec.Struct, frozen=True):
    """What orders need to know of the bars that are past.

    highest: price since the entry, 0 while flat; entered_ms: close of the candle of the entry
    gained: realised by the sells of this round trip so far, quote currency
    traded: UTC day (days since 1970) → value traded, quote currency, as far back as fee tiers look
    placed: protective orders ever placed, which numbers them
    matched_ms, matched_id: end and id of the last bar inside the candle that is not judged yet
    since_ms: bars that began before it were over when an order took from the book
    """

    highest: Decimal = ZERO
    entered_ms: int | None = None
    gained: Decimal = ZERO
    traded: dict[int, Decimal] = {}
    placed: int = 0
    matched_ms: int = 0
    matched_id: int = 0
    since_ms: int = 0


class Account(msgspec.Struct, frozen=True):
    """All that a bot carries from candle to candle.

    open_order: the strategy's order that waits, or a sale under way; protection: resting orders of which the
    first one set off ends the position (one cancels the others)
    last_candle_ms: close of the last judged candle; None: none yet, or trading was interrupted on purpose
    revision: counts the changes that others made to it
    """

    portfolio: Portfolio
    risk: RiskState
    open_order: Order | None = None
    last_candle_ms: int | None = None
    protection: tuple[Order, ...] = ()
    matching: Matching = Matching()
    revision: int = 0


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
