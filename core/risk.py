"""The gate before every order, and the exits that protect an open position. Pure and deterministic.

Every judgement uses candles and the account only, never the wall clock, so that a candle judged late (after
a restart) is judged as it would have been in time. A veto is a sentence that is stored with the order.
"""

from decimal import ROUND_DOWN, Decimal
from enum import StrEnum

import msgspec

from core.candles import Candle
from core.fills import QUANTUM, exact
from core.portfolio import Portfolio
from core.trades import Side

DAY_MS = 86_400_000


class RiskLimits(msgspec.Struct, frozen=True):
    """What a bot may risk. Fractions: 0.1 is 10 %; None: no such limit.

    max_position_fraction: largest part of total value in the coin
    stop_loss, take_profit: distance of the protective exits from the average cost
    trailing_stop: distance of a stop from the highest price since the entry
    max_candles: candles after which a position is sold
    max_daily_loss: no buys for the rest of a UTC day that lost this much
    max_drawdown: no buys while this far under the highest value so far
    max_silent_candles: no buys when the last trade lies more than so many candles back
    """

    max_position_fraction: Decimal = Decimal(1)
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trailing_stop: Decimal | None = None
    max_candles: int | None = None
    max_daily_loss: Decimal | None = None
    max_drawdown: Decimal | None = None
    max_silent_candles: int | None = 5


class RiskState(msgspec.Struct, frozen=True):
    """What the limits are measured against.

    day_start_ms, day_start_value: the UTC day and the total value it began with, quote currency
    peak_value: the highest total value so far
    silent_candles: candles without a trade in a row, up to now
    """

    day_start_ms: int
    day_start_value: Decimal
    last_value: Decimal
    peak_value: Decimal
    silent_candles: int = 0

    @classmethod
    def begin(cls, value: Decimal) -> "RiskState":
        """Before the first candle: a new account of this value."""
        return cls(0, value, value, value)

    @staticmethod
    def day_of(open_ms: int) -> int:
        """Start of the UTC day of a candle, which is that of its open: 00:00 ends the day before."""
        return open_ms - open_ms % DAY_MS

    def after(self, candle: Candle, value: Decimal) -> "RiskState":
        """After a candle that closed with the account at `value`."""
        day_start_ms = self.day_of(candle.open_ms)
        new_day = day_start_ms > self.day_start_ms
        return RiskState(
            day_start_ms=day_start_ms if new_day else self.day_start_ms,
            day_start_value=self.last_value if new_day else self.day_start_value,
            last_value=value,
            peak_value=max(self.peak_value, value),
            silent_candles=self.silent_candles + 1 if candle.volume == 0 else 0,
        )


class ExitReason(StrEnum):
    """Why a position was closed other than by its strategy."""

    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"


class ProtectiveExit(msgspec.Struct, frozen=True):
    """An exit that a candle set off, at a price before slippage."""

    reason: ExitReason
    price: Decimal


def spendable(limits: RiskLimits, portfolio: Portfolio, price: Decimal) -> Decimal:
    """Quote currency that a buy at `price` may spend: what brings the coin to its largest allowed part."""
    with exact():
        allowed = portfolio.value(price) * limits.max_position_fraction - portfolio.coin_value(price)
        return max(min(portfolio.cash, allowed), Decimal(0)).quantize(QUANTUM, ROUND_DOWN)


def veto(side: Side, limits: RiskLimits, state: RiskState, kill_switch: bool) -> str | None:
    """Why an order must not be sent; None if it may. Sells are only held up by the kill switch."""
    if kill_switch:
        return "the kill switch is on"
    if side is Side.SELL:
        return None
    if limits.max_silent_candles is not None and state.silent_candles > limits.max_silent_candles:
        return f"stale data: no trade in the last {state.silent_candles} candles"
    loss = _fall(state.day_start_value, state.last_value)
    if limits.max_daily_loss is not None and loss >= limits.max_daily_loss:
        return f"daily loss {loss:.4f} has reached the limit of {limits.max_daily_loss}"
    drawdown = _fall(state.peak_value, state.last_value)
    if limits.max_drawdown is not None and drawdown >= limits.max_drawdown:
        return f"drawdown {drawdown:.4f} has reached the limit of {limits.max_drawdown}"
    return None


def protective_exit(limits: RiskLimits, portfolio: Portfolio, candle: Candle) -> ProtectiveExit | None:
    """The exit that `candle` sets off for a position held since before its first trade.

    At the trigger, or at the open where the price jumped over it. When both lie inside one candle, the stop
    counts: the path inside is not known, so the worse of the two is taken.
    """
    average = portfolio.average_cost()
    if average is None or candle.volume == 0:
        return None
    if limits.stop_loss is not None:
        trigger = average * (1 - limits.stop_loss)
        if candle.low <= trigger:
            return ProtectiveExit(ExitReason.STOP_LOSS, min(candle.open, trigger))
    if limits.take_profit is not None:
        trigger = average * (1 + limits.take_profit)
        if candle.high >= trigger:
            return ProtectiveExit(ExitReason.TAKE_PROFIT, max(candle.open, trigger))
    return None


def _fall(start: Decimal, now: Decimal) -> Decimal:
    return (start - now) / start if start > 0 else Decimal(0)
