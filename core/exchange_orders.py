"""Orders that are sent to an exchange for real: what is asked for, how far it got, what the exchange says.

                    (withdrawn, too old, nothing left to sell)
    submitting ───────────────────────────────────────────────▶ cancelled
      ▲    │ committed, before the request leaves                   ▲
      │    ▼                                                        │
      └─ sending ──▶ working ──▶ filled                             │
         │  proven     │  └─────────────────────────────────────────┘
         │  not taken  │            (a cancelled one may be partly filled)
         ▼             ▼
      rejected      rejected        (an algo order whose order the exchange refused)

`submitting` is written with the decision; nothing has left. `sending` is written before a request leaves, so
that whoever finds it later knows that the exchange may have the order, and asks. The way back to `submitting`
is taken only when the exchange cannot have it any more.
"""

import base64
import hashlib
from decimal import Decimal
from enum import StrEnum

import msgspec

from core.fills import Fill, exact
from core.portfolio import Portfolio
from core.trades import Side

CLIENT_ID_PREFIX = "tcp"
CLIENT_ID_LENGTH = 32


class SubmissionState(StrEnum):
    """How far an order got; see the module's diagram."""

    SUBMITTING = "submitting"
    SENDING = "sending"
    WORKING = "working"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self in {SubmissionState.FILLED, SubmissionState.CANCELLED, SubmissionState.REJECTED}


_MOVES: dict[SubmissionState, frozenset[SubmissionState]] = {
    SubmissionState.SUBMITTING: frozenset(
        {SubmissionState.SENDING, SubmissionState.CANCELLED, SubmissionState.REJECTED}
    ),
    SubmissionState.SENDING: frozenset(
        {SubmissionState.SUBMITTING, SubmissionState.WORKING, SubmissionState.REJECTED}
    ),
    SubmissionState.WORKING: frozenset(
        {SubmissionState.FILLED, SubmissionState.CANCELLED, SubmissionState.REJECTED}
    ),
}


def states_before(state: SubmissionState) -> tuple[SubmissionState, ...]:
    """The states from which the diagram leads to `state`."""
    return tuple(before for before, after in _MOVES.items() if state in after)


class OrderKind(StrEnum):
    """market and limit are orders; stop, take_profit, oco (both) and trailing_stop are algo orders, which
    wait for a price and then sell at the market."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    TAKE_PROFIT = "take_profit"
    OCO = "oco"
    TRAILING_STOP = "trailing_stop"

    @property
    def is_protective(self) -> bool:
        """Whether it is an algo order."""
        return self not in {OrderKind.MARKET, OrderKind.LIMIT}


class ExchangeOrder(msgspec.Struct, frozen=True):
    """An order for an exchange.

    order_id: of the `orders` row; client_id: what the exchange knows it by
    quantity: base currency; limit_price: of a limit order; stop_price, profit_price: triggers of algo orders
    trail: of a trailing stop, its distance from the highest price since it was taken, a fraction
    exchange_id: the exchange's number; child_id: of the order that an algo order placed
    attempts: requests sent; deadline_ms: exchange time from which the exchange refuses the last of them
    filled_quantity: of the fills that are stored
    cancel_reason: why it is to be withdrawn; None: it is not
    created_ms: wall time of the decision's commit
    """

    order_id: str
    bot_id: int
    broker: str
    client_id: str
    symbol: str
    side: Side
    kind: OrderKind
    quantity: Decimal
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    profit_price: Decimal | None = None
    trail: Decimal | None = None
    state: SubmissionState = SubmissionState.SUBMITTING
    exchange_id: str | None = None
    child_id: str | None = None
    attempts: int = 0
    deadline_ms: int | None = None
    filled_quantity: Decimal = Decimal(0)
    cancel_reason: str | None = None
    created_ms: int = 0


class Report(msgspec.Struct, frozen=True):
    """What the exchange says of an order now.

    state: working, filled, cancelled or rejected; filled: base currency
    order_id: the exchange's number of the order whose fills count (of an algo order: of the one it placed)
    """

    client_id: str
    exchange_id: str
    state: SubmissionState
    filled: Decimal
    order_id: str | None
    reason: str | None = None


class ExchangeFill(msgspec.Struct, frozen=True):
    """A match at the exchange. fee: taken, in fee_currency; below zero for a rebate."""

    trade_id: str
    timestamp_ms: int
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_currency: str


def client_id(order_id: str) -> str:
    """The id under which the exchange knows an order: 32 lower-case letters and digits, made of ours alone,
    so that a retry after any crash names the same order."""
    digest = base64.b32encode(hashlib.sha256(order_id.encode()).digest()).decode().lower()
    return CLIENT_ID_PREFIX + digest[: CLIENT_ID_LENGTH - len(CLIENT_ID_PREFIX)]


def account_fill(fill: ExchangeFill, symbol: str) -> Fill:
    """The changes of balances that a match made, to the last digit, the fee in its own currency.

    A fee in a third currency changes neither balance and counts as 0 in quote currency.
    """
    base, _, quote = symbol.partition("-")
    sign = 1 if fill.side is Side.BUY else -1
    with exact():
        value = fill.price * fill.quantity
        base_fee = fill.fee if fill.fee_currency == base else Decimal(0)
        quote_fee = fill.fee if fill.fee_currency == quote else Decimal(0)
        return Fill(
            side=fill.side,
            timestamp_ms=fill.timestamp_ms,
            price=fill.price,
            quantity=fill.quantity,
            base_change=sign * fill.quantity - base_fee,
            quote_change=-sign * value - quote_fee,
            fee=base_fee * fill.price + quote_fee,
        )


def follow(portfolio: Portfolio, fill: Fill) -> tuple[Portfolio, Decimal | None]:
    """The account after a match that has happened, and what it realised (None for a buy).

    Unlike `Portfolio.apply` nothing is refused: what the exchange did is true, even where a market order cost
    more than the bot's share of the cash. Round trips are counted when their order is over (`closed_trip`).
    """
    with exact():
        if fill.side is Side.BUY:
            pnl, cost = None, portfolio.cost - fill.quote_change
        elif portfolio.quantity > 0:
            pnl = portfolio.pnl_of(fill)
            cost = portfolio.cost - (fill.quote_change - (pnl or Decimal(0)))
        else:
            pnl, cost = fill.quote_change, portfolio.cost
        after = msgspec.structs.replace(
            portfolio,
            cash=portfolio.cash + fill.quote_change,
            quantity=portfolio.quantity + fill.base_change,
            cost=cost,
            realised_pnl=portfolio.realised_pnl + (pnl or Decimal(0)),
            fees=portfolio.fees + fill.fee,
        )
    return after, pnl


def closed_trip(portfolio: Portfolio, pnl: Decimal) -> Portfolio:
    """The account once a sell is over that realised `pnl` in all its matches."""
    return msgspec.structs.replace(
        portfolio,
        total_trades=portfolio.total_trades + 1,
        winning_trades=portfolio.winning_trades + (pnl > 0),
    )
