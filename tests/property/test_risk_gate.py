"""Whatever the candles, signals and limits: no order past its limits, no exposure above the cap."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from core.candles import Candle
from core.decisions import Account, Outcome, Rules, judge
from core.exposure import Holding, PortfolioLimits, PortfolioState, objection
from core.fills import Costs, exact, sellable
from core.instruments import Instrument
from core.orders import Order, OrderStatus
from core.portfolio import Portfolio
from core.risk import RiskLimits, RiskState
from core.signals import Signal, SignalType
from core.timeframes import Timeframe
from core.trades import Side

D = Decimal
COIN = Instrument("A-USDT", "A", "USDT", D("0.01"), D("0.0001"), D("0.001"))
STEP_MS, HOUR_MS, DAY_MS = 900_000, 3_600_000, 86_400_000
CASH = D(1_000)
SIGNALS = (SignalType.BUY, SignalType.BUY, SignalType.SELL, SignalType.HOLD)


def some(*values: Any) -> st.SearchStrategy[Any]:
    """One of these, or no limit."""
    return st.none() | st.sampled_from(values)


own_limits = st.builds(
    RiskLimits,
    max_position_fraction=st.sampled_from([D(1), D("0.4")]),
    stop_loss=some(D("0.02")),
    take_profit=some(D("0.03")),
    trailing_stop=some(D("0.02")),
    max_candles=some(3),
    max_daily_loss=some(D("0.01"), D("0.03")),
    max_drawdown=some(D("0.02"), D("0.05")),
    max_order_value=some(D(70), D(700)),
    max_position_value=some(D(90), D(650)),
    max_orders_per_hour=some(1, 2, 3),
    max_orders_per_day=some(2, 5),
    cooldown_candles=some(1, 4),
    cooldown_minutes=some(20, 45),
    max_consecutive_losses=some(1, 2),
    max_price_deviation=some(D("0.01"), D("0.03")),
    max_silent_candles=some(0, 1),
    halt_until_reset=st.booleans(),
)
common_limits = st.builds(
    PortfolioLimits,
    max_exposure=some(D(500), D(1_500)),
    max_exposure_fraction=some(D("0.2"), D("0.6")),
    max_symbol_exposure=some(D(400), D(1_200)),
    max_open_positions=some(1, 2),
    max_daily_loss=some(D("0.02")),
    max_drawdown=some(D("0.03")),
    halt_until_reset=st.booleans(),
)


@st.composite
def markets(draw: st.DrawFn) -> list[Candle]:
    """Quarters of an hour over more than a day, with jumps and some without a trade."""
    price, candles = D(100), []
    for n in range(draw(st.integers(5, 60))):
        close_ms = DAY_MS - 5 * STEP_MS + (n + 1) * STEP_MS
        moves = draw(st.tuples(*[st.integers(-300, 300)] * 2, *[st.integers(0, 200)] * 2))
        if draw(st.integers(0, 9)) == 0:
            candles.append(Candle("A-USDT", Timeframe.M15, close_ms, price, price, price, price, D(0)))
            continue
        opened = price + D(moves[0]) / 500 * (draw(st.integers(0, 4)) == 0)
        price = max(opened + D(moves[1]) / 100, D(1))
        high, low = max(opened, price) + D(moves[2]) / 100, min(opened, price) - D(moves[3]) / 200
        candles.append(
            Candle("A-USDT", Timeframe.M15, close_ms, opened, high, max(low, D("0.5")), price, D(10))
        )
    return candles


@dataclass
class Bot:
    """A bot, and what a naive observer notes of it."""

    rules: Rules
    account: Account
    bought_at: list[int] = field(default_factory=list)
    ended: list[tuple[int, bool]] = field(default_factory=list)
    spent: dict[str, Decimal] = field(default_factory=dict)
    values: list[tuple[int, Decimal]] = field(default_factory=list)


def exposure(bot: Bot, price: Decimal) -> Decimal:
    """Coins at that price, and what its waiting buy may still spend."""
    order = bot.account.open_order
    waits = order.budget or D(0) if order is not None and order.side is Side.BUY else D(0)
    return bot.account.portfolio.quantity * price + waits


def note(bot: Bot, outcome: Outcome, candle: Candle) -> None:
    """Take down what one judgement did, before its new buy is looked at."""
    for one in outcome.executions:
        if one.fill.side is Side.BUY:
            bot.spent[one.order.id] = bot.spent.get(one.order.id, D(0)) - one.fill.quote_change
        elif one.order.status is OrderStatus.FILLED:
            bot.ended.append((candle.close_ms, one.pnl is not None and one.pnl > 0))
    bot.values.append((candle.open_ms // DAY_MS, outcome.account.portfolio.value(candle.close)))
    bot.account = outcome.account


def check_own(bot: Bot, order: Order, candles: list[Candle]) -> None:
    """A buy that was given keeps every limit of its bot, counted anew from the beginning."""
    limits, now_ms, candle = bot.rules.limits, order.timestamp_ms, candles[-1]
    value, budget = bot.account.portfolio.value(candle.close), order.budget or D(0)
    held = bot.account.portfolio.quantity * candle.close
    assert budget <= (limits.max_order_value or budget)
    assert held + budget <= min(limits.max_position_value or value, limits.max_position_fraction * value)
    times = [*bot.bought_at, *(at for at, _ in bot.ended)]
    for most, span in ((limits.max_orders_per_hour, HOUR_MS), (limits.max_orders_per_day, DAY_MS)):
        assert most is None or sum(at > now_ms - span for at in times) < most
    lost = [at for at, won in bot.ended if not won]
    if lost:
        assert now_ms - lost[-1] >= (limits.cooldown_candles or 0) * STEP_MS
        assert now_ms - lost[-1] >= (limits.cooldown_minutes or 0) * 60_000
    silent = next((n for n, one in enumerate(reversed(candles)) if one.volume > 0), len(candles))
    assert not limits.max_silent_candles or silent <= limits.max_silent_candles
    if limits.max_price_deviation is not None and len(candles) > 1:
        before = candles[-2].close
        assert abs(candle.close - before) <= limits.max_price_deviation * before
    check_losses(bot, candle)


def check_losses(bot: Bot, candle: Candle) -> None:
    """No stop is reached now; with halts, none ever was."""
    limits, today = bot.rules.limits, candle.open_ms // DAY_MS
    looked = range(1, len(bot.values) + 1) if limits.halt_until_reset else [len(bot.values)]
    for n in looked:
        seen = bot.values[:n]
        day, value = seen[-1]
        began = next((worth for on, worth in reversed(seen) if on < day), CASH)
        peak = max(CASH, *(worth for _, worth in seen))
        if limits.max_daily_loss is not None:
            assert began - value < limits.max_daily_loss * began
        if limits.max_drawdown is not None:
            assert peak - value < limits.max_drawdown * peak
    if limits.max_consecutive_losses is not None:
        of_today = [won for at, won in bot.ended if (at - STEP_MS) // DAY_MS == today]
        in_a_row = next((n for n, won in enumerate(reversed(of_today)) if won), len(of_today))
        assert in_a_row < limits.max_consecutive_losses


@given(st.data(), markets(), st.lists(own_limits, min_size=1, max_size=4), common_limits)
@settings(max_examples=120, deadline=None)
def test_no_order_is_past_a_limit_and_no_exposure_above_the_cap(data, candles, limits, common):
    """Up to four bots on one symbol, judged in any order: every buy that is given keeps each limit of its
    bot and of all together, as a naive count over the whole history has it."""
    costs, begin = Costs(D("0.001"), D("0.0005")), RiskState.begin(CASH)
    bots = [
        Bot(Rules(f"bot{n}", COIN, costs, own), Account(Portfolio(CASH), begin))
        for n, own in enumerate(limits)
    ]
    state = PortfolioState()
    for n, candle in enumerate(candles):
        for who in data.draw(st.permutations(range(len(bots)))):
            bot = bots[who]

            def admit(order: Order, portfolio: Portfolio, who: int = who, now: Candle = candle) -> str | None:
                nonlocal state
                holdings = []
                for other, one in enumerate(bots):
                    has = portfolio if other == who else one.account.portfolio
                    coins = has.quantity * now.close
                    waits = order.budget or D(0) if other == who else exposure(one, D(0))
                    is_open = sellable(COIN, has.quantity)
                    holdings.append(Holding(other, "A-USDT", CASH, has.cash, coins, waits, is_open))
                state = state.after(holdings, now.close_ms, common)
                return objection(common, state, holdings, who)

            kind = data.draw(
                st.sampled_from([SignalType.BUY, SignalType.BUY, SignalType.SELL, SignalType.HOLD])
            )
            signal = Signal(kind, candle.close_ms, float(candle.close), 1.0)
            outcome = judge(bot.rules, bot.account, candle, signal, False, admit=admit)
            with exact():
                note(bot, outcome, candle)
                opened = bot.account.open_order
                if opened is not None and opened.side is Side.BUY and opened.timestamp_ms == candle.close_ms:
                    check_own(bot, opened, candles[: n + 1])
                    check_all(bots, candle, common)
                    bot.bought_at.append(candle.close_ms)
                assert bot.account.portfolio.cash >= 0 <= bot.account.portfolio.quantity
                for spent in bot.spent.values():
                    assert spent <= (bot.rules.limits.max_order_value or CASH * 100)


def check_all(bots: list[Bot], candle: Candle, common: PortfolioLimits) -> None:
    """After a buy was given: what all bots hold and wait for."""
    together = sum((exposure(bot, candle.close) for bot in bots), D(0))
    equity = sum((bot.account.portfolio.value(candle.close) for bot in bots), D(0))
    slack = D("1e-15")  # values of coins are rounded down to 18 decimals
    for most in (common.max_exposure, common.max_symbol_exposure):
        assert most is None or together <= most
    if common.max_exposure_fraction is not None:
        assert together <= common.max_exposure_fraction * equity + slack
    holding = sum(
        (bot.account.open_order is not None and bot.account.open_order.side is Side.BUY)
        or sellable(COIN, bot.account.portfolio.quantity)
        for bot in bots
    )
    assert common.max_open_positions is None or holding <= common.max_open_positions


def test_a_limit_that_is_taken_away_is_missed() -> None:
    """The naive count sees an order past its limit: with the cap lifted behind its back it complains."""
    candle = Candle("A-USDT", Timeframe.M15, DAY_MS, *[D(100)] * 4, D(1))
    bot = Bot(Rules("bot", COIN, Costs(), RiskLimits()), Account(Portfolio(CASH), RiskState.begin(CASH)))
    signal = Signal(SignalType.BUY, candle.close_ms, 100.0, 1.0)
    outcome = judge(bot.rules, bot.account, candle, signal, False)
    note(bot, outcome, candle)
    order = outcome.account.open_order
    assert order is not None and order.budget == CASH
    for strict in (RiskLimits(max_order_value=D(999)), RiskLimits(max_position_fraction=D("0.9"))):
        bot.rules = msgspec.structs.replace(bot.rules, limits=strict)
        try:
            check_own(bot, order, [candle])
        except AssertionError:
            continue
        raise AssertionError(f"not noticed: {strict}")
