"""What all bots together may risk, and the judgement of one more buy. Pure; see `core.risk` for one bot.

Everything is counted for one quote currency: amounts of different ones cannot be added. What the accounts
hold is read, and the buy that follows from it committed, under one lock (`pipelines.warehouse.exposure`), so
that two bots never both take the last room.
"""

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from core.risk import DAY_MS

ZERO = Decimal(0)


class PortfolioLimits(msgspec.Struct, frozen=True):
    """Limits over all bots; None: no such limit. Fractions are of the combined equity.

    max_exposure, max_exposure_fraction: coins of all bots; max_symbol_…: those of one symbol
    max_open_positions: bots that hold coins or wait to buy some
    max_daily_loss, max_drawdown: no buys after such a loss; halt_until_reset: until somebody resets it
    """

    max_exposure: Decimal | None = None
    max_exposure_fraction: Decimal | None = None
    max_symbol_exposure: Decimal | None = None
    max_symbol_exposure_fraction: Decimal | None = None
    max_open_positions: int | None = None
    max_daily_loss: Decimal | None = None
    max_drawdown: Decimal | None = None
    halt_until_reset: bool = False


class Holding(msgspec.Struct, frozen=True):
    """What one bot has. Amounts in quote currency.

    capital: what it began with; cash: including what is set aside for a waiting buy; coins: at the last price
    on_order: most that its waiting buy would add to them; is_open: it holds coins that could be sold
    """

    bot_id: int
    symbol: str
    capital: Decimal
    cash: Decimal
    coins: Decimal
    on_order: Decimal = ZERO
    is_open: bool = False


class PortfolioState(msgspec.Struct, frozen=True):
    """What the stops over all bots are measured against: profit, so that a new bot's balance is no gain.

    day_start_ms, day_start_pnl: the UTC day and the profit with which it began; peak_pnl: the highest so far
    bots: whose profit is counted; halted: why nothing is bought until somebody resets it
    """

    day_start_ms: int = 0
    day_start_pnl: Decimal = ZERO
    pnl: Decimal = ZERO
    peak_pnl: Decimal = ZERO
    capital: Decimal = ZERO
    bots: tuple[int, ...] = ()
    halted: str | None = None

    def after(self, holdings: Sequence[Holding], now_ms: int, limits: PortfolioLimits) -> "PortfolioState":
        """With what the bots have at `now_ms` (exchange time)."""
        bots = tuple(sorted(holding.bot_id for holding in holdings))
        capital = sum((holding.capital for holding in holdings), ZERO)
        pnl = equity_of(holdings) - capital
        # A bot that was added or deleted brings or takes its profit along: that is no gain and no loss.
        moved = pnl - self.pnl if bots != self.bots else ZERO
        day_start_ms = max(now_ms - now_ms % DAY_MS, self.day_start_ms)
        new_day = day_start_ms > self.day_start_ms
        state = PortfolioState(
            day_start_ms=day_start_ms,
            day_start_pnl=(self.pnl if new_day else self.day_start_pnl) + moved,
            pnl=pnl,
            peak_pnl=max(self.peak_pnl + moved, pnl),
            capital=capital,
            bots=bots,
            halted=self.halted,
        )
        if limits.halt_until_reset and state.halted is None:
            return msgspec.structs.replace(state, halted=state.lost_too_much(limits))
        return state

    def lost_too_much(self, limits: PortfolioLimits) -> str | None:
        """Which stop is reached; None: none is."""
        for name, begin, most in (
            ("daily loss", self.day_start_pnl, limits.max_daily_loss),
            ("drawdown", self.peak_pnl, limits.max_drawdown),
        ):
            base = self.capital + begin
            fall = (begin - self.pnl) / base if base > 0 else ZERO
            if most is not None and fall >= most:
                return f"{name} {fall:.4f} has reached the limit of {most}"
        return None

    def reset(self) -> "PortfolioState":
        """Somebody has looked at the losses: everything is measured from here on."""
        return msgspec.structs.replace(self, day_start_pnl=self.pnl, peak_pnl=self.pnl, halted=None)


def equity_of(holdings: Sequence[Holding]) -> Decimal:
    """Cash and coins of all."""
    return sum((holding.cash + holding.coins for holding in holdings), ZERO)


def exposure_of(holdings: Sequence[Holding], symbol: str | None = None) -> Decimal:
    """Coins of all, with what waiting buys would add; of one symbol if it is given."""
    counted = [one for one in holdings if symbol is None or one.symbol == symbol]
    return sum((one.coins + one.on_order for one in counted), ZERO)


def objection(
    limits: PortfolioLimits, state: PortfolioState, holdings: Sequence[Holding], buyer: int
) -> str | None:
    """Why the buy that `buyer` wants must not be sent; None if it may.

    state: after these holdings, among which is the buyer's with the buy as its `on_order`
    """
    halted, lost = state.halted, state.lost_too_much(limits)
    if halted is not None:
        return f"over all bots: nothing is bought until it is reset: {halted}"
    if lost is not None:
        return f"over all bots: {lost}"
    symbol = next(holding.symbol for holding in holdings if holding.bot_id == buyer)
    equity = equity_of(holdings)
    for name, exposure, most, fraction in (
        ("exposure", exposure_of(holdings), limits.max_exposure, limits.max_exposure_fraction),
        (
            f"exposure in {symbol}",
            exposure_of(holdings, symbol),
            limits.max_symbol_exposure,
            limits.max_symbol_exposure_fraction,
        ),
    ):
        if most is not None and exposure > most:
            return f"over all bots: {name} would be {exposure:.2f}, more than {most:f}"
        if fraction is not None and exposure > fraction * equity:
            part = exposure / equity if equity > 0 else Decimal(1)
            return f"over all bots: {name} would be {part:.4f} of equity, more than {fraction:f}"
    count = sum(holding.is_open or holding.on_order > 0 for holding in holdings)
    if limits.max_open_positions is not None and count > limits.max_open_positions:
        return f"over all bots: {count} open positions would be more than {limits.max_open_positions}"
    return None
