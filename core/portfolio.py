"""A bot's account: cash, coin, what it cost, and what was earned. Immutable; every fill gives a new one."""

from decimal import ROUND_DOWN, Decimal

import msgspec

from core.fills import QUANTUM, Fill, exact
from core.trades import Side

ZERO = Decimal(0)


class Portfolio(msgspec.Struct, frozen=True):
    """Spot, long or flat. All amounts exact, at most 18 decimals.

    cash: quote currency; quantity: base currency held
    cost: quote currency paid for what is held, fees included
    realised_pnl: quote currency, all fees of both sides deducted
    fees: all fees so far, in quote currency
    total_trades: closed round trips; winning_trades: those that earned something after fees
    """

    cash: Decimal
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realised_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    total_trades: int = 0
    winning_trades: int = 0

    def value(self, price: Decimal) -> Decimal:
        """Cash plus the coins held at `price`, in quote currency."""
        return self.cash + self.coin_value(price)

    def coin_value(self, price: Decimal) -> Decimal:
        """The coins held at `price`, in quote currency, rounded down to 18 decimals."""
        with exact():
            return (self.quantity * price).quantize(QUANTUM, ROUND_DOWN)

    def average_cost(self) -> Decimal | None:
        """Quote currency paid for each coin held, fees included; None when nothing is held."""
        return self.cost / self.quantity if self.quantity > 0 else None

    def pnl_of(self, fill: Fill) -> Decimal | None:
        """What `fill` realises: proceeds less the cost of the coins sold, fees deducted; None for a buy."""
        if fill.side is Side.BUY:
            return None
        with exact():
            return fill.quote_change - self._cost_of(fill)

    def apply(self, fill: Fill, closes: bool = True, gained: Decimal = ZERO) -> "Portfolio":
        """The account after `fill`. ValueError if it would leave cash or coin below zero.

        closes: a sell that ends the round trip; gained: what its earlier sells realised
        """
        with exact():
            cash, quantity = self.cash + fill.quote_change, self.quantity + fill.base_change
            if cash < 0 or quantity < 0:
                raise ValueError(f"{fill.side} of {fill.quantity} leaves cash {cash} and coins {quantity}")
            pnl = self.pnl_of(fill)
            ended = pnl is not None and closes
            return Portfolio(
                cash=cash,
                quantity=quantity,
                cost=self.cost - fill.quote_change if pnl is None else self.cost - self._cost_of(fill),
                realised_pnl=self.realised_pnl + (pnl or ZERO),
                fees=self.fees + fill.fee,
                total_trades=self.total_trades + ended,
                winning_trades=self.winning_trades + (ended and gained + (pnl or ZERO) > 0),
            )

    def _cost_of(self, fill: Fill) -> Decimal:
        """The share of the cost that belongs to the coins sold; all of it when all are sold."""
        if fill.base_change == -self.quantity:
            return self.cost
        return (self.cost * -fill.base_change / self.quantity).quantize(QUANTUM, ROUND_DOWN)
