"""The gate before every order. Pure and deterministic; the orders that protect a position: `core.matching`.

Every judgement uses candles and the account only, so that a candle judged late (after a restart) is judged as
it would have been in time; the one exception, the age of the data, is off unless it is asked for. Limits hold
up what adds to a position: a sale is held up by nothing but the kill switch. A veto is a sentence that is
stored with the order. What is measured over all bots is in `core.exposure`.
"""

from decimal import ROUND_DOWN, Decimal
from enum import StrEnum

import msgspec

from core.candles import Candle
from core.fills import QUANTUM, exact
from core.portfolio import Portfolio
from core.trades import Side

HOUR_MS = 3_600_000
DAY_MS = 86_400_000

KILL_SWITCH = "the kill switch is on"
SOLD = "the kill switch sold the position"
OLD_DATA = "old data"
OF_NO_CANDLE = ("the kill switch", OLD_DATA, "over all bots")
"""Beginnings of vetoes that the candles do not explain: a replay takes them over instead of finding them."""
OF_THE_PAST = (
    r"^(nothing is bought until|stale data|daily loss|drawdown|\d+ losses in a row|cooldown|order rate)"
)
"""Beginnings of vetoes, as an expression, of limits that remember: a replay that begins in the middle of a
bot's life takes those over too."""


class RiskLimits(msgspec.Struct, frozen=True):
    """What a bot may risk. Fractions: 0.1 is 10 %; None or 0: no such limit. Amounts: quote currency.

    max_position_fraction: largest part of total value in the coin
    stop_loss, take_profit: distance of the protective exits from the average cost
    trailing_stop: distance of a stop from the highest price since the entry
    max_candles: candles after which a position is sold
    max_daily_loss: no buys for the rest of a UTC day that lost this much
    max_drawdown: no buys while this far under the highest value so far
    max_silent_candles: no buys when the last trade lies more than so many candles back
    max_order_value: most that one buy spends
    max_position_value: most that the coins may be worth when something is bought
    max_orders_per_hour, max_orders_per_day: no buys once so many were decided, and round trips ended, in the
        last 60 minutes or 24 hours
    cooldown_candles, cooldown_minutes: no buys for so long after the candle of an exit that earned nothing
    max_consecutive_losses: no buys for the rest of a UTC day in which so many exits in a row earned nothing
    max_price_deviation: no buys at a close that is further from the close before it
    max_data_age_s: no buys when the exchange's clock is so far past the candle
    halt_until_reset: what loses too much (day, drawdown, losses in a row) stops buys until somebody resets it
    """

    max_position_fraction: Decimal = Decimal(1)
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    trailing_stop: Decimal | None = None
    max_candles: int | None = None
    max_daily_loss: Decimal | None = None
    max_drawdown: Decimal | None = None
    max_silent_candles: int | None = 5
    max_order_value: Decimal | None = None
    max_position_value: Decimal | None = None
    max_orders_per_hour: int | None = None
    max_orders_per_day: int | None = None
    cooldown_candles: int | None = None
    cooldown_minutes: int | None = None
    max_consecutive_losses: int | None = None
    max_price_deviation: Decimal | None = None
    max_data_age_s: int | None = None
    halt_until_reset: bool = False

    @property
    def orders_remembered(self) -> int:
        """Newest orders whose times decide about the next one."""
        return max(self.max_orders_per_hour or 0, self.max_orders_per_day or 0)


class RiskState(msgspec.Struct, frozen=True):
    """What the limits are measured against.

    day_start_ms, day_start_value: the UTC day and the total value it began with, quote currency
    peak_value: the highest total value so far
    silent_candles: candles without a trade in a row, up to now
    last_ms, last_close, before_close: close time of the newest candle, its price and the one before it
    exits, wins: closed round trips seen, and those that earned something
    losses_in_a_row: of this UTC day; lost_ms, since_loss: candle of the newest such exit, and candles since
    order_times: when the newest buys were decided and round trips ended, closes of candles, oldest first, as
        many as the limits ask about
    halted: why nothing is bought until somebody resets it
    """

    day_start_ms: int
    day_start_value: Decimal
    last_value: Decimal
    peak_value: Decimal
    silent_candles: int = 0
    last_ms: int = 0
    last_close: Decimal | None = None
    before_close: Decimal | None = None
    exits: int = 0
    wins: int = 0
    losses_in_a_row: int = 0
    lost_ms: int | None = None
    since_loss: int = 0
    order_times: tuple[int, ...] = ()
    halted: str | None = None

    @classmethod
    def begin(cls, value: Decimal) -> "RiskState":
        """Before the first candle: a new account of this value."""
        return cls(0, value, value, value)

    @staticmethod
    def day_of(open_ms: int) -> int:
        """Start of the UTC day of a candle, which is that of its open: 00:00 ends the day before."""
        return open_ms - open_ms % DAY_MS

    def after(self, candle: Candle, portfolio: Portfolio, limits: RiskLimits) -> "RiskState":
        """After a candle, whose fills the portfolio has."""
        value = portfolio.value(candle.close)
        day_start_ms = self.day_of(candle.open_ms)
        new_day = day_start_ms > self.day_start_ms
        won = portfolio.winning_trades - self.wins
        lost = portfolio.total_trades - self.exits - won
        in_a_row = 0 if new_day or won else self.losses_in_a_row
        state = RiskState(
            day_start_ms=day_start_ms if new_day else self.day_start_ms,
            day_start_value=self.last_value if new_day else self.day_start_value,
            last_value=value,
            peak_value=max(self.peak_value, value),
            silent_candles=self.silent_candles + 1 if candle.volume == 0 else 0,
            last_ms=candle.close_ms,
            last_close=candle.close,
            before_close=self.last_close,
            exits=portfolio.total_trades,
            wins=portfolio.winning_trades,
            losses_in_a_row=in_a_row + lost,
            lost_ms=candle.close_ms if lost else self.lost_ms,
            since_loss=0 if lost else self.since_loss + 1,
            order_times=self._times(won + lost, candle.close_ms, limits),
            halted=self.halted,
        )
        if limits.halt_until_reset and state.halted is None:
            return msgspec.structs.replace(state, halted=_lost_too_much(limits, state))
        return state

    def with_buy(self, limits: RiskLimits) -> "RiskState":
        """After a buy was decided at the newest candle."""
        return msgspec.structs.replace(self, order_times=self._times(1, self.last_ms, limits))

    def _times(self, count: int, at_ms: int, limits: RiskLimits) -> tuple[int, ...]:
        kept = limits.orders_remembered
        return (*self.order_times, *(at_ms,) * count)[-kept:] if kept else ()

    def reset(self) -> "RiskState":
        """Somebody has looked at the losses: everything is measured from here on."""
        return msgspec.structs.replace(
            self,
            day_start_value=self.last_value,
            peak_value=self.last_value,
            losses_in_a_row=0,
            lost_ms=None,
            halted=None,
        )


class ExitReason(StrEnum):
    """Why a position was closed other than by its strategy."""

    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    TRAILING_STOP = "trailing_stop"


def spendable(limits: RiskLimits, portfolio: Portfolio, price: Decimal) -> Decimal:
    """Quote currency that a buy at `price` may spend: no more than one order may, and no more than brings the
    coin to its largest allowed part and value."""
    with exact():
        largest = portfolio.value(price) * limits.max_position_fraction
        if limits.max_position_value is not None:
            largest = min(largest, limits.max_position_value)
        allowed = largest - portfolio.coin_value(price)
        if limits.max_order_value is not None:
            allowed = min(allowed, limits.max_order_value)
        return max(min(portfolio.cash, allowed), Decimal(0)).quantize(QUANTUM, ROUND_DOWN)


def veto(
    side: Side, limits: RiskLimits, state: RiskState, kill_switch: bool, age_ms: int | None = None
) -> str | None:
    """Why an order must not be given; None if it may. Sales are held up by the kill switch alone.

    state: after the candle at whose close the order is decided; age_ms: the exchange's time since that close
    """
    if kill_switch:
        return KILL_SWITCH
    if side is Side.SELL:
        return None
    if state.halted is not None:
        return f"nothing is bought until it is reset: {state.halted}"
    return (
        _bad_data(limits, state, age_ms)
        or _lost_too_much(limits, state)
        or _cools_down(limits, state)
        or _too_many(limits, state)
    )


def age_of(candle: Candle, exchange_ms: int | None) -> int | None:
    """ms since a candle's close when the exchange's clock shows `exchange_ms`; None: not known."""
    return None if exchange_ms is None else exchange_ms - candle.close_ms


def _bad_data(limits: RiskLimits, state: RiskState, age_ms: int | None) -> str | None:
    if limits.max_silent_candles and state.silent_candles > limits.max_silent_candles:
        return f"stale data: no trade in the last {state.silent_candles} candles"
    if limits.max_data_age_s and age_ms is not None and age_ms > limits.max_data_age_s * 1000:
        return f"{OLD_DATA}: the candle closed {age_ms / 1000:.1f} s ago, more than {limits.max_data_age_s} s"
    close, before = state.last_close, state.before_close
    if limits.max_price_deviation is not None and close is not None and before is not None:
        deviation = abs(close - before) / before
        if deviation > limits.max_price_deviation:
            return (
                f"price {close:f} is {deviation:.4f} from the close before it, {before:f}: more than"
                f" {limits.max_price_deviation}"
            )
    return None


def _lost_too_much(limits: RiskLimits, state: RiskState) -> str | None:
    loss = _fall(state.day_start_value, state.last_value)
    if limits.max_daily_loss is not None and loss >= limits.max_daily_loss:
        return f"daily loss {loss:.4f} has reached the limit of {limits.max_daily_loss}"
    drawdown = _fall(state.peak_value, state.last_value)
    if limits.max_drawdown is not None and drawdown >= limits.max_drawdown:
        return f"drawdown {drawdown:.4f} has reached the limit of {limits.max_drawdown}"
    if limits.max_consecutive_losses and state.losses_in_a_row >= limits.max_consecutive_losses:
        return f"{state.losses_in_a_row} losses in a row have reached {limits.max_consecutive_losses}"
    return None


def _cools_down(limits: RiskLimits, state: RiskState) -> str | None:
    if state.lost_ms is None:
        return None
    if limits.cooldown_candles and state.since_loss < limits.cooldown_candles:
        return f"cooldown: {state.since_loss} of {limits.cooldown_candles} candles since a losing exit"
    minutes = (state.last_ms - state.lost_ms) / 60_000
    if limits.cooldown_minutes and minutes < limits.cooldown_minutes:
        return f"cooldown: {minutes:g} of {limits.cooldown_minutes} minutes since a losing exit"
    return None


def _too_many(limits: RiskLimits, state: RiskState) -> str | None:
    for most, span_ms, span in (
        (limits.max_orders_per_hour, HOUR_MS, "an hour"),
        (limits.max_orders_per_day, DAY_MS, "a day"),
    ):
        if most and len(state.order_times) >= most and state.order_times[-most] > state.last_ms - span_ms:
            return f"order rate: {most} orders within {span} are the limit"
    return None


def _fall(start: Decimal, now: Decimal) -> Decimal:
    return (start - now) / start if start > 0 else Decimal(0)
