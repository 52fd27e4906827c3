"""The gate before every order."""

from decimal import Decimal

from core.candles import Candle
from core.portfolio import Portfolio
from core.risk import (
    DAY_MS,
    RiskLimits,
    RiskState,
    spendable,
    veto,
)
from core.timeframes import Timeframe
from core.trades import Side

MINUTE = 60_000


def _candle(close_ms: int, prices: str = "10 10 10 10", volume: int = 1) -> Candle:
    opened, high, low, close = map(Decimal, prices.split())
    return Candle("A-USDT", Timeframe.M1, close_ms, opened, high, low, close, Decimal(volume))


def _state(*values: str, start_ms: int = DAY_MS) -> RiskState:
    state = RiskState.begin(Decimal(values[0]))
    for n, value in enumerate(values):
        state = _next(state, start_ms + (n + 1) * MINUTE, value)
    return state


def _next(state: RiskState, close_ms: int, value: str, volume: int = 1) -> RiskState:
    """After a candle that closed with an account of so much cash."""
    return state.after(_candle(close_ms, volume=volume), Portfolio(Decimal(value)), RiskLimits())


def test_nothing_is_vetoed_without_limits():
    """The default limits let a healthy bot trade."""
    for side in Side:
        assert veto(side, RiskLimits(), _state("100", "1"), kill_switch=False) is None


def test_the_kill_switch_holds_up_both_sides():
    """While it is on, no order leaves at all."""
    for side in Side:
        assert veto(side, RiskLimits(), _state("100"), kill_switch=True) == "the kill switch is on"


def test_a_daily_loss_stops_buys_until_the_next_utc_day():
    """5 % lost since midnight reaches a limit of 5 %; the first candle of the next day lifts it."""
    limits = RiskLimits(max_daily_loss=Decimal("0.05"))
    state = _state("100", "96")
    assert veto(Side.BUY, limits, state, kill_switch=False) is None
    state = _next(state, 2 * DAY_MS, "95")
    reason = veto(Side.BUY, limits, state, kill_switch=False)
    assert reason is not None and "daily loss 0.0500" in reason
    assert veto(Side.SELL, limits, state, kill_switch=False) is None
    state = _next(state, 2 * DAY_MS + MINUTE, "95")
    assert veto(Side.BUY, limits, state, kill_switch=False) is None


def test_a_drawdown_stops_buys_until_it_is_made_good():
    """Ten per cent under the peak of 110 is 99."""
    limits = RiskLimits(max_drawdown=Decimal("0.1"))
    assert veto(Side.BUY, limits, _state("100", "110", "99.1"), kill_switch=False) is None
    reason = veto(Side.BUY, limits, _state("100", "110", "99"), kill_switch=False)
    assert reason is not None and "drawdown 0.1000" in reason


def test_silence_of_the_market_stops_buys():
    """More candles without a trade than allowed are stale data; one trade ends it."""
    state = _state("100")
    for n in range(3):
        state = _next(state, DAY_MS + (n + 9) * MINUTE, "100", volume=0)
    limits = RiskLimits(max_silent_candles=2)
    reason = veto(Side.BUY, limits, state, kill_switch=False)
    assert reason == "stale data: no trade in the last 3 candles"
    state = _next(state, DAY_MS + 20 * MINUTE, "100")
    assert veto(Side.BUY, limits, state, kill_switch=False) is None


def test_the_position_limit_counts_what_is_held_already():
    """Half of 1000 may be coin; 200 are, so 300 may be spent."""
    limits = RiskLimits(max_position_fraction=Decimal("0.5"))
    account = Portfolio(cash=Decimal(800), quantity=Decimal(20), cost=Decimal(200))
    assert spendable(limits, account, Decimal(10)) == 300
    assert spendable(limits, account, Decimal(60)) == 0
    assert spendable(RiskLimits(), account, Decimal(10)) == 800
