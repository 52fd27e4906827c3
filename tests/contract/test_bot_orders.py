"""Waiting orders of a bot, on a real PostgreSQL: met by stored trades, kept over a kill, replayed exactly."""

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.candles import Candle
from core.clock import Clock
from core.errors import BadInput
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.bots.bot import Bot
from live.bots.messages import MarketUpdate
from pipelines.backtest.live_parity import check_bot
from pipelines.clock import SystemClock
from pipelines.warehouse.bots import cancel_open_orders, find_bot, set_status
from pipelines.warehouse.controls import set_kill_switch
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import beat
from pipelines.warehouse.sql import to_datetime
from pipelines.warehouse.trades import copy_trades
from tests import bot_bench as bench

pytestmark = pytest.mark.servers
D = Decimal
HISTORY, LIVE = 50, 60
MINUTES = Timeframe.M1.ms
TABLES = {
    "orders": "id, timestamp, side, order_type, price, quantity, filled_quantity, status, reason, expires_at",
    "trades": "id, order_id, timestamp, side, price, quantity, fees, pnl, balance_after",
    "positions": "cash, quantity, cost, realised_pnl, fees, total_trades, last_candle, matching",
    "bot_performance": "timestamp, total_value, cash_balance, crypto_balance, total_trades, total_fees",
}


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database."""
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


def market(seed: int = 4, minutes: int = HISTORY + LIVE) -> tuple[list[Candle], list[list[Trade]]]:
    """Minutes of a walk, and the trades that make them: five to thirty each, ids without a hole."""
    rng, price, number = random.Random(seed), D(60_000), 1000
    candles, inside = [], []
    for n in range(minutes):
        open_ms, trades = bench.START_MS + n * MINUTES, []
        for k in range(rng.randint(5, 30)):
            price += D(rng.randint(-400, 400)) / 10
            count = rng.randint(1, 3)
            number += count
            size = D(rng.randint(1, 5000)) / 10_000
            trades.append(Trade(bench.SYMBOL, number, open_ms + k * 1_900, price, size, Side.BUY, count))
        candles.append(candle_of(trades, open_ms + MINUTES))
        inside.append(trades)
    return candles, inside


def candle_of(trades: list[Trade], close_ms: int) -> Candle:
    """What the collector makes of them."""
    prices = [trade.price for trade in trades]
    volume = sum((trade.size for trade in trades), D(0))
    shape = (prices[0], max(prices), min(prices), prices[-1], volume, len(trades))
    return Candle(bench.SYMBOL, Timeframe.M1, close_ms, *shape)


def keep(engine: Engine, trades: list[Trade]) -> None:
    """Store trades as the collector does."""
    with engine.begin() as connection:
        copy_trades(connection, trades)


def running(trades: list[Trade], close_ms: int) -> MarketUpdate:
    """A message of a candle that is not over."""
    made = candle_of(trades, close_ms)
    return MarketUpdate(Candle(*(getattr(made, n) for n in made.__struct_fields__[:10]), final=False), None)


def take(engine: Engine, name: str, clock: Clock) -> Bot:
    """A process of the bot as it begins."""
    return Bot(find_bot(engine, name), engine, clock, lambda message: None)


def rows(engine: Engine, name: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that the bot has on record, its name taken out of the ids."""
    found = {}
    with engine.connect() as connection:
        for table, columns in TABLES.items():
            statement = f"SELECT {columns} FROM {table} s JOIN bots b ON b.id = s.bot_id WHERE b.name = :name"
            chosen = ", ".join(f"s.{column.strip()}" for column in columns.split(","))
            statement = statement.replace(columns, chosen) + " ORDER BY 1, 2"
            result = connection.execute(text(statement), {"name": name})
            found[table] = [tuple(_unnamed(value, name) for value in row) for row in result]
    return found


def _unnamed(value: Any, name: str) -> Any:
    return value.removeprefix(name) if isinstance(value, str) else value


EXECUTIONS: list[dict[str, Any]] = [
    {"order": "limit", "offset": 0.0004, "expires": 3, "maker_fee": 0.0002},
    {"order": "stop", "offset": 0.0003, "expires": 4, "volume_share": 0.3, "impact": 0.01},
    {"order": "stop_limit", "offset": 0.0002, "limit_offset": 0.0001, "expires": 4, "spread": 0.5},
    {"order": "market", "volume_share": 0.2},
]
RISK = {"stop_loss": 0.004, "take_profit": 0.003, "trailing_stop": 0.003, "max_candles": 9}


@pytest.mark.parametrize("execution", EXECUTIONS, ids=lambda chosen: chosen["order"])
def test_a_bot_killed_in_the_middle_replays_exactly_what_it_missed(engine, execution):
    """One bot is told of every few trades as they are stored; its twin is killed all the time, sleeps through
    minutes and is told of nothing: equal orders, fills and accounts to the last digit, ids included."""
    candles, inside = market()
    strategy = {"strategy": "ema_crossover", "parameters": {"fast_period": 2, "slow_period": 3}}
    for name in ("calm", "dead"):
        bench.add_bot(engine, name, execution=execution, risk=RISK, virtual_balance=100_000, **strategy)
    bench.store(engine, candles[:HISTORY])
    keep(engine, [trade for trades in inside[:HISTORY] for trade in trades])
    clock, rng = SystemClock(), random.Random(1)
    beat(engine, "live", clock.now_ms(), candles[HISTORY - 1].close_ms + 1, {})
    calm, dead = take(engine, "calm", clock), take(engine, "dead", clock)
    for name, bot in (("calm", calm), ("dead", dead)):
        assert bot.catch_up() and bench.last_candle_ms(engine, name) == candles[HISTORY - 1].close_ms
    for candle, trades in zip(candles[HISTORY:], inside[HISTORY:], strict=True):
        cut = 0
        while cut < len(trades):
            before, cut = cut, cut + rng.randint(3, 12)
            keep(engine, trades[before:cut])
            calm.on_update(running(trades[:cut], candle.close_ms))
            if rng.random() < 0.2:
                dead = take(engine, "dead", clock)
                dead.on_update(running(trades[:cut], candle.close_ms))
        bench.store(engine, [candle])
        calm.on_update(MarketUpdate(candle, None))
        if rng.random() < 0.3:
            dead = take(engine, "dead", clock)
            dead.catch_up()
    dead.catch_up()
    one, two = rows(engine, "calm"), rows(engine, "dead")
    assert one == two
    kinds = {row[3] for row in one["orders"]}
    assert execution["order"] in kinds and kinds & {"stop", "take_profit", "trailing_stop"}
    assert len(one["trades"]) > 6


def test_fills_of_a_time_down_are_marked_and_others_are_not(engine):
    """A market order is decided; the process dies; its fill is found by the next one and says so."""
    candles, inside = market()
    clock = SystemClock()
    bench.add_bot(engine, "alpha", strategy="buy_and_hold", parameters={}, execution={})
    bench.add_bot(engine, "beta", strategy="buy_and_hold", parameters={}, execution={})
    bench.store(engine, candles[:HISTORY])
    beat(engine, "live", clock.now_ms(), candles[HISTORY - 1].close_ms + 1, {})
    bots = {name: take(engine, name, clock) for name in ("alpha", "beta")}
    for bot in bots.values():
        bot.catch_up()
    for n in (HISTORY, HISTORY + 1):
        keep(engine, inside[n])
        bench.store(engine, [candles[n]])
        if n == HISTORY:
            for bot in bots.values():
                bot.on_update(MarketUpdate(candles[n], None))
    bots["beta"].on_update(MarketUpdate(candles[HISTORY + 1], None))
    beat(engine, "live", clock.now_ms(), candles[HISTORY + 1].close_ms + 1, {})
    take(engine, "alpha", clock).catch_up()
    marked = "SELECT recovered FROM trades JOIN bots b ON b.id = bot_id WHERE b.name = :name"
    assert bench.scalar(engine, marked, name="alpha") is True
    assert bench.scalar(engine, marked, name="beta") is False


def test_a_hole_in_the_trades_holds_up_a_fill_until_it_is_filled(engine):
    """The first trade after the decision is missing, later ones are there: nothing is filled by them."""
    candles, inside = market()
    clock = SystemClock()
    bench.add_bot(engine, "alpha", strategy="buy_and_hold", parameters={}, execution={})
    bench.store(engine, candles[:HISTORY])
    keep(engine, inside[HISTORY - 1])
    beat(engine, "live", clock.now_ms(), candles[HISTORY - 1].close_ms + 1, {})
    bot = take(engine, "alpha", clock)
    bot.catch_up()
    keep(engine, inside[HISTORY])
    bench.store(engine, [candles[HISTORY]])
    bot.on_update(MarketUpdate(candles[HISTORY], None))
    first, *later = inside[HISTORY + 1]
    keep(engine, later)
    bot.on_update(running(later, candles[HISTORY + 1].close_ms))
    assert bench.scalar(engine, "SELECT count(*) FROM trades") == 0
    keep(engine, [first])
    bot.catch_up()
    assert bench.scalar(engine, "SELECT price FROM trades") == first.price


@pytest.mark.parametrize("stored", ["minutes", "nothing"])
def test_without_stored_trades_minutes_are_walked_and_else_the_candle(engine, stored):
    """A five-minute bot whose stop and profit lie inside one candle: its minutes say that the profit came
    first; without them the worse one counts."""
    clock = SystemClock()
    bench.add_bot(
        engine,
        "alpha",
        strategy="buy_and_hold",
        parameters={},
        timeframe="5m",
        fee=0,
        risk={"stop_loss": 0.01, "take_profit": 0.01},
        execution={},
    )
    start = bench.START_MS - bench.START_MS % Timeframe.M5.ms
    flat = (D(100),) * 4
    shapes = [flat, flat, (D(100), D(101), D(99), D(100)), flat]
    fives = [
        Candle(bench.SYMBOL, Timeframe.M5, start + n * Timeframe.M5.ms, *shape, D(9))
        for n, shape in enumerate(shapes)
    ]
    begin, last = fives[2].open_ms, fives[2].close_ms
    minutes = [(D(100), D(101), D(100), D(101)), (D(101), D(101), D(99), D(100))]
    for n, shape in enumerate(minutes, 1):
        if stored == "minutes":
            bench.store(engine, [Candle(bench.SYMBOL, Timeframe.M1, begin + n * MINUTES, *shape, D(1))])
    bench.store(engine, fives[:1])
    beat(engine, "live", clock.now_ms(), fives[0].close_ms + 1, {})
    bot = take(engine, "alpha", clock)
    bot.catch_up()
    bench.store(engine, fives[1:])
    bot.catch_up()
    bench.store(engine, [Candle(bench.SYMBOL, Timeframe.M5, last + 2 * Timeframe.M5.ms, *flat, D(9))])
    bot.catch_up()
    reason = bench.scalar(engine, "SELECT reason FROM orders WHERE status = 'filled' AND side = 'sell'")
    assert reason == ("take_profit" if stored == "minutes" else "stop_loss")


def test_a_pause_and_the_kill_switch_withdraw_what_waits_and_protection_comes_back(engine):
    """The protective orders are cancelled with everything else, and placed anew when the bot goes on."""
    candles, inside = market()
    clock = SystemClock()
    bench.add_bot(
        engine,
        "alpha",
        strategy="buy_and_hold",
        parameters={},
        execution={},
        risk={"stop_loss": 0.5, "take_profit": 0.5},
    )
    bench.store(engine, candles[:HISTORY])
    beat(engine, "live", clock.now_ms(), candles[HISTORY - 1].close_ms + 1, {})
    bot = take(engine, "alpha", clock)
    bot.catch_up()
    working = "SELECT count(*) FROM orders WHERE status = 'open' AND oco IS NOT NULL"

    def minute(n: int, bot: Bot) -> None:
        keep(engine, inside[n])
        bench.store(engine, [candles[n]])
        bot.catch_up()

    minute(HISTORY, bot)
    minute(HISTORY + 1, bot)
    assert bench.scalar(engine, working) == 2
    set_kill_switch(engine, on=True)
    cancel_open_orders(engine, "the kill switch is on")
    assert bench.scalar(engine, working) == 0
    bot = take(engine, "alpha", clock)
    minute(HISTORY + 2, bot)
    assert bench.scalar(engine, working) == 0
    set_kill_switch(engine, on=False)
    bot = take(engine, "alpha", clock)
    minute(HISTORY + 3, bot)
    assert bench.scalar(engine, working) == 2
    set_status(engine, "alpha", "paused")
    assert bench.scalar(engine, working) == 0
    set_status(engine, "alpha", "active")
    beat(engine, "live", clock.now_ms(), candles[HISTORY + 3].close_ms + 1, {})
    bot = take(engine, "alpha", clock)
    bot.catch_up()
    minute(HISTORY + 4, bot)
    assert bench.scalar(engine, working) == 2
    assert bench.scalar(engine, "SELECT count(*) FROM orders WHERE state IS NOT NULL") == 2


@pytest.mark.parametrize("execution", [*EXECUTIONS[:2], EXECUTIONS[3]], ids=lambda chosen: chosen["order"])
@pytest.mark.parametrize("intrabar", ["trades", "1m", "candle"])
def test_a_bot_with_waiting_orders_trades_as_the_backtest_says(engine, execution, intrabar):
    """Parity: the compiled kernel on the stored trades, minutes or candles finds the bot's fills and balances
    within a tick and a lot."""
    candles, inside = market(seed=5)
    strategy = {"strategy": "ema_crossover", "parameters": {"fast_period": 2, "slow_period": 3}}
    chosen = execution | {"intrabar": intrabar}
    bench.add_bot(engine, "alpha", execution=chosen, risk=RISK, virtual_balance=100_000, **strategy)
    bench.store(engine, candles)
    keep(engine, [trade for trades in inside for trade in trades])
    clock = SystemClock()
    beat(engine, "live", clock.now_ms(), candles[HISTORY - 1].close_ms + 1, {})
    bot = take(engine, "alpha", clock)
    while bench.last_candle_ms(engine, "alpha") != candles[-1].close_ms:
        bot.catch_up()
    report = check_bot(engine.url.render_as_string(hide_password=False), "alpha")
    assert report.differences == []
    assert report.fills >= 3


def test_parity_says_what_a_backtest_does_not_know(engine):
    """A stop-limit entry has no counterpart: one line names the field."""
    candles, _ = market(minutes=HISTORY)
    bench.add_bot(engine, "alpha", execution=EXECUTIONS[2], parameters={"fast_period": 2, "slow_period": 3})
    bench.store(engine, candles)
    beat(engine, "live", 0, candles[-1].close_ms + 1, {})
    take(engine, "alpha", SystemClock()).catch_up()
    with pytest.raises(BadInput, match=r"execution\.order: parity is not known for stop_limit"):
        check_bot(engine.url.render_as_string(hide_password=False), "alpha")


def test_a_candle_of_more_trades_than_are_read_at_once_is_met_whole(engine):
    """Five minutes of 25,000 trades; one near the end takes the profit. A bot that looked inside and one that
    only sees the final candle sell at that trade."""
    clock = SystemClock()
    for name in ("watching", "away"):
        bench.add_bot(
            engine,
            name,
            strategy="buy_and_hold",
            parameters={},
            timeframe="5m",
            risk={"take_profit": 0.02},
            execution={},
        )
    start = bench.START_MS - bench.START_MS % Timeframe.M5.ms
    flat = [
        Candle(bench.SYMBOL, Timeframe.M5, start + n * Timeframe.M5.ms, *(D(100),) * 4, D(9)) for n in (0, 1)
    ]
    begin = flat[1].close_ms
    trades = [
        Trade(bench.SYMBOL, 9_000 + n, begin + n * 10, D(103 if n == 24_000 else 100), D(2000), Side.BUY)
        for n in range(25_000)
    ]
    bench.store(engine, flat[:1])
    beat(engine, "live", clock.now_ms(), flat[0].close_ms + 1, {})
    bots = {name: take(engine, name, clock) for name in ("watching", "away")}
    for bot in bots.values():
        bot.catch_up()
    bench.store(engine, flat[1:])
    keep(engine, [Trade(bench.SYMBOL, 8_999, begin - 1, D(100), D(1), Side.BUY), *trades])
    made = candle_of(trades, begin + Timeframe.M5.ms)
    whole = Candle(made.symbol, Timeframe.M5, *(getattr(made, name) for name in made.__struct_fields__[2:9]))
    for bot in bots.values():
        bot.on_update(MarketUpdate(flat[1], None))
    bots["watching"].on_update(
        MarketUpdate(Candle(*(getattr(whole, n) for n in whole.__struct_fields__[:10]), final=False), None)
    )
    bench.store(engine, [whole])
    for bot in bots.values():
        bot.on_update(MarketUpdate(whole, None))
    one, two = rows(engine, "watching"), rows(engine, "away")
    assert one == two
    assert [row[4] for row in one["trades"]] == [100, 103]
    assert [row[2] for row in one["trades"]][1] == to_datetime(begin + 240_000)
