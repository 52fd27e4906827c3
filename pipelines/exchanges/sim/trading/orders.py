"""Orders and fills in whole ticks and lots, and what a client may ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Literal

from pipelines.exchanges.sim.specs import SymbolSpec

Side = Literal["buy", "sell"]
KINDS = ("market", "limit", "post_only", "fok", "ioc", "optimal_limit_ioc")
_MOST_MARKET_VALUE = 1_000_000  # in quote currency
_MOST_LIMIT_VALUE = 20_000_000


class Rejected(Exception):
    """One order, or one change of an order, that the exchange refuses; code is its `sCode`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class State(StrEnum):
    """Where an order stands."""

    LIVE = "live"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"


@dataclass(frozen=True)
class Ticket:
    """A well-formed request for an order.

    price: ticks, 0 for market orders; size: lots, or ticks × lots of quote currency when `quote_sized`
    ban_amend: refuse a market order that the balance does not cover instead of making it smaller
    """

    spec: SymbolSpec
    side: Side
    kind: str
    price: int
    size: int
    size_text: str
    quote_sized: bool = False
    cl_ord_id: str = ""
    tag: str = ""
    ban_amend: bool = False
    algo_id: str = ""


@dataclass(frozen=True)
class Fill:
    """A match of an order. price: ticks; size: lots; fee: paid, in `fee_currency`; ts: ms."""

    trade_id: str
    order: "Order"
    price: int
    size: int
    taker: bool
    fee: Decimal
    fee_currency: str
    ts: int


@dataclass
class Order:
    """An accepted order. filled: lots; value: ticks × lots of all fills; fee: paid so far."""

    ord_id: str
    ticket: Ticket
    price: int
    size: int
    created_ms: int
    updated_ms: int
    state: State = State.LIVE
    filled: int = 0
    value: int = 0
    fee: Decimal = Decimal(0)
    cancel_source: str = ""
    last_fill: Fill | None = None

    @property
    def open(self) -> bool:
        """Whether it can still be filled."""
        return self.state in (State.LIVE, State.PARTIALLY_FILLED)

    def reserved(self) -> tuple[str, Decimal]:
        """The currency and amount that it keeps from being spent otherwise."""
        spec, left = self.ticket.spec, self.size - self.filled
        if self.ticket.side == "buy":
            return spec.quote, quote_amount(spec, left * self.price)
        return spec.base, base_amount(spec, left)


def base_amount(spec: SymbolSpec, lots: int) -> Decimal:
    """Lots as an amount of base currency."""
    return Decimal(lots).scaleb(-spec.lot_decimals)


def quote_amount(spec: SymbolSpec, value: int) -> Decimal:
    """Ticks × lots as an amount of quote currency."""
    return Decimal(value).scaleb(-spec.tick_decimals - spec.lot_decimals)


def parse_ticket(spec: SymbolSpec, args: Mapping[str, Any]) -> Ticket:
    """Check everything about an order that does not need an account; Rejected with OKX's codes."""
    if args.get("tdMode") != "cash":
        raise Rejected("51000", "Parameter tdMode error")
    if args.get("attachAlgoOrds"):
        raise Rejected("51000", "Parameter attachAlgoOrds error")
    side, kind = args.get("side"), args.get("ordType")
    if side not in ("buy", "sell"):
        raise Rejected("51000", "Parameter side error")
    if kind not in KINDS:
        raise Rejected("51000", "Parameter ordType error")
    market = kind in ("market", "optimal_limit_ioc")
    quote_sized = kind == "market" and _quote_sized(args, side)
    price = 0 if market else parse_price(spec, args.get("px"), "px")
    size = _quote_size(spec, args.get("sz")) if quote_sized else parse_size(spec, args.get("sz"))
    value = size if quote_sized else size * price
    most = _MOST_MARKET_VALUE if market else _MOST_LIMIT_VALUE
    if value and quote_amount(spec, value) > most:
        raise Rejected("51201" if market else "51203", f"Order value cannot exceed {most} {spec.quote}")
    return Ticket(
        spec,
        "buy" if side == "buy" else "sell",
        str(kind),
        price,
        size,
        str(args.get("sz")),
        quote_sized,
        parse_ident(args, "clOrdId", 32),
        parse_ident(args, "tag", 16),
        args.get("banAmend") in (True, "true"),
    )


def parse_ident(args: Mapping[str, Any], name: str, longest: int) -> str:
    """A client's own id: at most `longest` ASCII letters and digits; "" when not given."""
    text = str(args.get(name) or "")
    if text and not (len(text) <= longest and text.isascii() and text.isalnum()):
        raise Rejected("51000", f"Parameter {name} error")
    return text


def parse_price(spec: SymbolSpec, text: object, name: str) -> int:
    """A price in ticks; Rejected when missing, not positive or between two ticks."""
    if text in (None, ""):
        raise Rejected("51204" if name == "px" else "51000", f"Parameter {name} can not be empty")
    ticks = positive(text, name).scaleb(spec.tick_decimals)
    if ticks != int(ticks):
        raise Rejected("51000", f"Parameter {name} error: not a multiple of the tick size")
    return int(ticks)


def parse_size(spec: SymbolSpec, text: object) -> int:
    """A size in lots; Rejected when between two lots or under the instrument's minimum."""
    lots = positive(text, "sz").scaleb(spec.lot_decimals)
    if lots != int(lots):
        raise Rejected("51121", "Order quantity must be a multiple of the lot size.")
    if lots < spec.min_lots:
        raise Rejected("51020", "Your order should meet or exceed the minimum order amount.")
    return int(lots)


def positive(text: object, name: str) -> Decimal:
    """A finite number above 0."""
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        number = Decimal(0)
    # an exponent without bounds would let `int()` build a number of a million digits
    if not number.is_finite() or not Decimal("1e-18") <= number <= Decimal("1e15"):
        raise Rejected("51000", f"Parameter {name} error")
    return number


def _quote_sized(args: Mapping[str, Any], side: object) -> bool:
    unit = args.get("tgtCcy") or ("quote_ccy" if side == "buy" else "base_ccy")
    if unit not in ("quote_ccy", "base_ccy"):
        raise Rejected("51000", "Parameter tgtCcy error")
    return unit == "quote_ccy"


def _quote_size(spec: SymbolSpec, text: object) -> int:
    return int(positive(text, "sz").scaleb(spec.tick_decimals + spec.lot_decimals))
