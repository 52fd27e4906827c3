"""Fills: what an order does to cash and coin. Pure, exact, one set for every paper order.

A buy spends quote currency and receives base currency; a sell is the reverse. The fee is taken from what is
received, as the exchange does it, so a buyer of q holds q·(1 − fee). Amounts are kept to 18 decimals
(NUMERIC(38, 18)), rounded against the account: a buy costs the upper, a sell brings the lower neighbour. So
nothing is ever created by rounding, and no balance can go below zero.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_DOWN, ROUND_UP, Context, Decimal, localcontext

import msgspec

from core.instruments import Instrument
from core.trades import Side

QUANTUM = Decimal(1).scaleb(-18)
TIER_DAYS = 30
"""UTC days before today whose traded value decides the fees of today."""
_CONTEXT = Context(prec=76, rounding=ROUND_DOWN)
_ZERO, _ONE = Decimal(0), Decimal(1)


@contextmanager
def exact() -> Iterator[None]:
    """Arithmetic wide enough (76 digits) that a product of two stored amounts is never rounded."""
    with localcontext(_CONTEXT):
        yield


class FeeTier(msgspec.Struct, frozen=True):
    """Fees, fractions, from a value on that was traded in the 30 UTC days before (quote currency)."""

    traded: Decimal
    maker: Decimal
    taker: Decimal


class Costs(msgspec.Struct, frozen=True):
    """What trading costs. Fractions but for the spread.

    fee: of the received amount; slippage: of the price; maker_fee: of an order that rested, None: as fee
    tiers: fees by the value traded, in place of both, rising from 0
    spread: between bid and ask, quote currency: a fill pays half
    impact: of the price, for an order as large as the bar's volume; with the square of its part of that
    volume_share: largest part of a bar's volume that an order takes; None: all it wants
    """

    fee: Decimal = _ZERO
    slippage: Decimal = _ZERO
    maker_fee: Decimal | None = None
    tiers: tuple[FeeTier, ...] = ()
    spread: Decimal = _ZERO
    impact: Decimal = _ZERO
    volume_share: Decimal | None = None

    def fee_of(self, maker: bool, traded: Decimal) -> Decimal:
        """The fee of a fill, after `traded` quote currency in the 30 days before."""
        if self.tiers:
            tier = [tier for tier in self.tiers if traded >= tier.traded][-1]
            return tier.maker if maker else tier.taker
        return self.maker_fee if maker and self.maker_fee is not None else self.fee

    def most(self, volume: Decimal) -> Decimal | None:
        """Coins of a bar of this volume that an order may take; None: any number."""
        return None if self.volume_share is None else self.volume_share * volume

    def market_price(self, side: Side, price: Decimal, size: Decimal, volume: Decimal) -> Decimal:
        """What an order at the market gets where the last price is `price`: half the spread, the slippage and
        its own impact against it. One larger than the volume has the impact of all of it."""
        part = min(size / volume, _ONE) if self.impact and volume > 0 else _ZERO
        against = self.slippage + self.impact * part * part
        if side is Side.BUY:
            return ((price + self.spread / 2) * (1 + against)).quantize(QUANTUM, ROUND_UP)
        return max((price - self.spread / 2) * (1 - against), _ZERO).quantize(QUANTUM, ROUND_DOWN)


class Fill(msgspec.Struct, frozen=True):
    """One execution.

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


def bought(quantity: Decimal, price: Decimal, fee: Decimal, timestamp_ms: int) -> Fill:
    """`quantity` coins bought at `price`; the fee comes off the coins."""
    with exact():
        fee_base = (quantity * fee).quantize(QUANTUM, ROUND_UP)
        return Fill(
            side=Side.BUY,
            timestamp_ms=timestamp_ms,
            price=price,
            quantity=quantity,
            base_change=quantity - fee_base,
            quote_change=-(quantity * price).quantize(QUANTUM, ROUND_UP),
            fee=(fee_base * price).quantize(QUANTUM, ROUND_UP),
        )


def sold(quantity: Decimal, price: Decimal, fee: Decimal, timestamp_ms: int) -> Fill:
    """`quantity` coins sold at `price`; the fee comes off the proceeds."""
    with exact():
        gross = (quantity * price).quantize(QUANTUM, ROUND_DOWN)
        charged = (gross * fee).quantize(QUANTUM, ROUND_UP)
        return Fill(
            side=Side.SELL,
            timestamp_ms=timestamp_ms,
            price=price,
            quantity=quantity,
            base_change=-quantity,
            quote_change=gross - charged,
            fee=charged,
        )


def market_buy(
    instrument: Instrument, spend: Decimal, price: Decimal, costs: Costs, timestamp_ms: int
) -> Fill | Refusal:
    """Buy as much as `spend` (quote currency) pays for at `price` plus slippage, in whole lots."""
    with exact():
        paid = costs.market_price(Side.BUY, price, _ZERO, _ZERO)
        quantity = instrument.floor_size(spend / paid) if spend > 0 else _ZERO
    return too_small(instrument, quantity) or bought(quantity, paid, costs.fee, timestamp_ms)


def market_sell(
    instrument: Instrument, held: Decimal, price: Decimal, costs: Costs, timestamp_ms: int
) -> Fill | Refusal:
    """Sell what is `held` (base currency) at `price` less slippage, in whole lots; the rest stays held."""
    with exact():
        got = costs.market_price(Side.SELL, price, _ZERO, _ZERO)
        quantity = instrument.floor_size(held)
    return too_small(instrument, quantity) or sold(quantity, got, costs.fee, timestamp_ms)


def sellable(instrument: Instrument, held: Decimal) -> bool:
    """Whether what is held can be sold at all; less is the dust that fees leave behind."""
    with exact():
        return too_small(instrument, instrument.floor_size(held)) is None


def too_small(instrument: Instrument, quantity: Decimal) -> Refusal | None:
    """Why an order of that size is not allowed; None if it is."""
    if quantity > 0 and quantity >= instrument.min_size:
        return None
    return Refusal(
        f"size {quantity.normalize():f} {instrument.base} is under the minimum of"
        f" {instrument.min_size.normalize():f} for {instrument.symbol}"
    )
