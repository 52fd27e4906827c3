"""Fills: what an order does to cash and coin. Pure, exact, one set for every paper order.

A market buy spends quote currency and receives base currency; a market sell is the reverse. The fee is
taken from what is received, as the exchange does it, so a buyer of q holds q·(1 − fee). Amounts are kept to
18 decimals (NUMERIC(38, 18)), rounded against the account: a buy costs the upper, a sell brings the lower
neighbour. So nothing is ever created by rounding, and no balance can go below zero.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal, localcontext

import msgspec

from core.instruments import Instrument
from core.trades import Side

QUANTUM = Decimal(1).scaleb(-18)
_CONTEXT = Context(prec=76, rounding=ROUND_DOWN)


@contextmanager
def exact() -> Iterator[None]:
    """Arithmetic wide enough (76 digits) that a product of two stored amounts is never rounded."""
    with localcontext(_CONTEXT):
        yield


class Costs(msgspec.Struct, frozen=True):
    """What trading costs, as fractions: fee of the received amount, slippage of the price."""

    fee: Decimal = Decimal(0)
    slippage: Decimal = Decimal(0)


class Fill(msgspec.Struct, frozen=True):
    """A completed market order.

    timestamp_ms: time of the fill
    price: quote per base, slippage included
    quantity: base currency exchanged, before the fee
    base_change, quote_change: signed changes of the balances, fee included
    fee: value of the fee in quote currency at the fill price, whichever currency it was taken from
    """

    side: Side
    timestamp_ms: int
    price: Decimal
    quantity: Decimal
    base_change: Decimal
    quote_change: Decimal
    fee: Decimal


class Refusal(msgspec.Struct, frozen=True):
    """An order that the exchange's rules do not allow, and why."""

    reason: str


def market_buy(
    instrument: Instrument, spend: Decimal, price: Decimal, costs: Costs, timestamp_ms: int
) -> Fill | Refusal:
    """Buy as much as `spend` (quote currency) pays for at `price` plus slippage, in whole lots."""
    with exact():
        paid = (price * (1 + costs.slippage)).quantize(QUANTUM, ROUND_UP)
        quantity = instrument.floor_size(spend / paid) if spend > 0 else Decimal(0)
        if refusal := _too_small(instrument, quantity):
            return refusal
        fee_base = (quantity * costs.fee).quantize(QUANTUM, ROUND_UP)
        return Fill(
            side=Side.BUY,
            timestamp_ms=timestamp_ms,
            price=paid,
            quantity=quantity,
            base_change=quantity - fee_base,
            quote_change=-(quantity * paid).quantize(QUANTUM, ROUND_UP),
            fee=(fee_base * paid).quantize(QUANTUM, ROUND_UP),
        )


def market_sell(
    instrument: Instrument, held: Decimal, price: Decimal, costs: Costs, timestamp_ms: int
) -> Fill | Refusal:
    """Sell what is `held` (base currency) at `price` less slippage, in whole lots; the rest stays held."""
    with exact():
        got = (price * (1 - costs.slippage)).quantize(QUANTUM, ROUND_DOWN)
        quantity = instrument.floor_size(held)
        if refusal := _too_small(instrument, quantity):
            return refusal
        gross = (quantity * got).quantize(QUANTUM, ROUND_DOWN)
        fee = (gross * costs.fee).quantize(QUANTUM, ROUND_UP)
        return Fill(
            side=Side.SELL,
            timestamp_ms=timestamp_ms,
            price=got,
            quantity=quantity,
            base_change=-quantity,
            quote_change=gross - fee,
            fee=fee,
        )


def sellable(instrument: Instrument, held: Decimal) -> bool:
    """Whether what is held can be sold at all; less is the dust that fees leave behind."""
    with exact():
        return _too_small(instrument, instrument.floor_size(held)) is None


def _too_small(instrument: Instrument, quantity: Decimal) -> Refusal | None:
    if quantity > 0 and quantity >= instrument.min_size:
        return None
    return Refusal(
        f"size {quantity.normalize():f} {instrument.base} is under the minimum of"
        f" {instrument.min_size.normalize():f} for {instrument.symbol}"
    )
