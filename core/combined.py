"""Several accounts as one: what all bots hold, owe to fees, have earned and would earn. Pure and exact.

Accounts of different quote currencies are not added up: a total has the currency it is in.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec

from core.fills import exact
from core.portfolio import Portfolio

ZERO = Decimal(0)


class Holder(msgspec.Struct, frozen=True):
    """One account. capital: cash that it began with; price: of its coin, None while there is none."""

    bot: str
    symbol: str
    quote: str
    capital: Decimal
    portfolio: Portfolio
    price: Decimal | None

    @property
    def coin_value(self) -> Decimal:
        """Its coins at the price; at what they cost while there is none."""
        return self.portfolio.cost if self.price is None else self.portfolio.coin_value(self.price)

    @property
    def value(self) -> Decimal:
        """Cash and coins."""
        return self.portfolio.cash + self.coin_value

    @property
    def unrealised_pnl(self) -> Decimal:
        """What selling at the price would realise, before that sale's fee."""
        return self.coin_value - self.portfolio.cost


class Position(msgspec.Struct, frozen=True):
    """What all accounts hold of one symbol. Amounts in quote currency but for `quantity`.

    cost: paid, fees included; average_cost: of a coin, None without coins; bots: that hold some
    """

    symbol: str
    quantity: Decimal
    cost: Decimal
    average_cost: Decimal | None
    price: Decimal | None
    value: Decimal
    unrealised_pnl: Decimal
    bots: tuple[str, ...]


class Total(msgspec.Struct, frozen=True):
    """All accounts of one quote currency as one.

    pnl: value less capital, which is realised and unrealised together; exposure: part of the value in coins
    """

    quote: str
    bots: int
    capital: Decimal
    value: Decimal
    cash: Decimal
    coins: Decimal
    exposure: float | None
    pnl: Decimal
    realised_pnl: Decimal
    unrealised_pnl: Decimal
    fees: Decimal
    total_trades: int
    winning_trades: int
    positions: tuple[Position, ...]


def combined(holders: Iterable[Holder]) -> tuple[Total, ...]:
    """The accounts summed by quote currency, positions by symbol, both by name."""
    by_quote: dict[str, list[Holder]] = {}
    for holder in holders:
        by_quote.setdefault(holder.quote, []).append(holder)
    return tuple(_total(quote, by_quote[quote]) for quote in sorted(by_quote))


def _total(quote: str, holders: Sequence[Holder]) -> Total:
    with exact():
        value = sum((holder.value for holder in holders), ZERO)
        capital = sum((holder.capital for holder in holders), ZERO)
        coins = sum((holder.coin_value for holder in holders), ZERO)
        return Total(
            quote=quote,
            bots=len(holders),
            capital=capital,
            value=value,
            cash=sum((holder.portfolio.cash for holder in holders), ZERO),
            coins=coins,
            exposure=float(coins / value) if value > 0 else None,
            pnl=value - capital,
            realised_pnl=sum((holder.portfolio.realised_pnl for holder in holders), ZERO),
            unrealised_pnl=sum((holder.unrealised_pnl for holder in holders), ZERO),
            fees=sum((holder.portfolio.fees for holder in holders), ZERO),
            total_trades=sum(holder.portfolio.total_trades for holder in holders),
            winning_trades=sum(holder.portfolio.winning_trades for holder in holders),
            positions=tuple(_position(symbol, holders) for symbol in sorted({h.symbol for h in holders})),
        )


def _position(symbol: str, holders: Sequence[Holder]) -> Position:
    of_symbol = [holder for holder in holders if holder.symbol == symbol]
    quantity = sum((holder.portfolio.quantity for holder in of_symbol), ZERO)
    cost = sum((holder.portfolio.cost for holder in of_symbol), ZERO)
    return Position(
        symbol=symbol,
        quantity=quantity,
        cost=cost,
        average_cost=cost / quantity if quantity > 0 else None,
        price=of_symbol[0].price,
        value=sum((holder.coin_value for holder in of_symbol), ZERO),
        unrealised_pnl=sum((holder.unrealised_pnl for holder in of_symbol), ZERO),
        bots=tuple(sorted(holder.bot for holder in of_symbol if holder.portfolio.quantity > 0)),
    )
