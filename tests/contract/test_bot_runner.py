"""The process of a bot, on a real PostgreSQL and a real Redis."""

import random
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine

from core.candles import Candle
from core.decisions import Account, Rules, judge, observe
from core.fills import Costs
from core.orders import Execution
from core.portfolio import Portfolio
from core.risk import RiskLimits, RiskState
from live.bots.bot import Bot
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.bots import announce, cancel_open_orders, find_bot, set_status
from pipelines.warehouse.candles import read_candles
from pipelines.warehouse.controls import set_kill_switch
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import beat
from strategies import registry
from strategies.evaluate import last_signal
from tests import bot_bench as bench

pytestmark = pytest.mark.servers
HISTORY, LIVE = 150, 60
Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database."""
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisBus]:
    """The test's Redis."""
    bus = RedisBus(redis_url)
    yield bus
    await bus.close()


@pytest.fixture
def start(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts runners, and ends those that are left."""
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str) -> subprocess.Popen[bytes]:
        running.append(bench.start_runner(name, database_url, redis_url, tmp_path / f"{name}.log"))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


def _history(engine: Engine, candles: list[Candle]) -> None:
    """Store the history, and the exchange's time right after it, so that bots begin there."""
    bench.store(engine, candles[:HISTORY])
    beat(engine, "live", 0, candles[HISTORY - 1].close_ms + 1, {})


async def _judged(engine: Engine, name: str, candle: Candle) -> None:
    def reached() -> bool:
        return bench.last_candle_ms(engine, name) == candle.close_ms

    await bench.until(reached, f"{name} has judged the candle of {candle.close_ms}")


def _expected(engine: Engine, candles: list[Candle], name: str) -> tuple[Account, list[Execution], list[str]]:
    """What the bot should have done, from the pure functions over the whole history."""
    config = find_bot(engine, name).config
    strategy = registry.build(config["strategy"], config["parameters"], "1m")
    rules = Rules(name, bench.BTC, Costs(Decimal("0.001"), Decimal(0)), RiskLimits())
    money = Portfolio(Decimal(10000))
    account = Account(money, RiskState.begin(Decimal(10000)))
    account = observe(rules, account, candles[HISTORY - 1]).account
    executions: list[Execution] = []
    signals: list[str] = []
    for candle in candles[HISTORY : HISTORY + LIVE]:
        frame = read_candles(engine, bench.SYMBOL, "1m", end_ms=candle.close_ms)
        said = last_signal(strategy, frame)
        outcome = judge(rules, account, candle, said, kill_switch=False)
        account = outcome.account
        executions += outcome.executions
        signals.append(said.signal_type.value)
    return account, executions, signals


async def test_every_final_candle_gives_one_signal_and_the_right_trades(engine, bus, start):
    """Sixty live candles: one signal each, and the fills of the pure functions, at the next candle's open."""
    candles = bench.walk(HISTORY + LIVE + 1, empty=0.1)
    bench.add_bot(engine, "alpha")
    _history(engine, candles)
    start("alpha")
    await _judged(engine, "alpha", candles[HISTORY - 1])
    for n in range(HISTORY, HISTORY + LIVE):
        bench.store(engine, [candles[n]])
        await bench.publish(bus, candles[n], candles[n + 1] if n + 1 < HISTORY + LIVE else None)
        await _judged(engine, "alpha", candles[n])
    account, executions, signals = _expected(engine, candles, "alpha")
    rows = bench.history(engine, "alpha")
    assert [row[1] for row in rows["signals"]][1:] == signals
    assert len(rows["signals"]) == len(rows["bot_performance"]) == LIVE + 1
    assert len(executions) > 4
    stored = [(row[1], row[2], row[3], row[5]) for row in rows["trades"]]
    expected = [(e.fill.side.value, e.fill.price, e.fill.quantity, e.pnl) for e in executions]
    assert stored == expected
    assert rows["position"][0][:2] == (account.portfolio.cash, account.portfolio.quantity)


async def test_kills_leave_the_rows_of_an_undisturbed_run(engine, bus, start):
    """One bot runs on, its twin is killed -9 again and again; both lose messages and database connections:
    equal rows, to the last digit."""
    candles = bench.walk(HISTORY + LIVE + 1, seed=2, empty=0.05)
    rng = random.Random(3)
    for name in ("calm", "killed"):
        bench.add_bot(engine, name)
    _history(engine, candles)
    start("calm")
    victim = start("killed")
    await _judged(engine, "calm", candles[HISTORY - 1])
    await _judged(engine, "killed", candles[HISTORY - 1])
    for n in range(HISTORY, HISTORY + LIVE):
        bench.store(engine, [candles[n]])
        if rng.random() < 0.8:  # the other messages are lost
            await bench.publish(bus, candles[n], candles[n + 1])
        if (n - HISTORY) % 12 == 5:
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            victim = start("killed")
        if (n - HISTORY) % 20 == 15:
            bench.cut_connections(engine)
        await _judged(engine, "calm", candles[n])
    await _judged(engine, "killed", candles[HISTORY + LIVE - 1])
    calm, killed = bench.history(engine, "calm"), bench.history(engine, "killed")
    for table, rows in calm.items():
        assert killed[table] == rows, table
    assert len(calm["signals"]) == LIVE + 1 and len(calm["trades"]) > 4


async def test_pausing_holds_and_resuming_begins_at_the_newest_candle(engine, bus, start):
    """Nothing is judged while paused, and nothing of that time is judged afterwards."""
    candles = bench.walk(HISTORY + 10)
    bench.add_bot(engine, "alpha")
    _history(engine, candles)
    start("alpha")
    await _judged(engine, "alpha", candles[HISTORY - 1])
    set_status(engine, "alpha", "paused")
    await announce(bus, "alpha")
    await bench.until(lambda: find_bot(engine, "alpha").state == "paused", "paused")
    for n in range(HISTORY, HISTORY + 5):
        bench.store(engine, [candles[n]])
        await bench.publish(bus, candles[n], candles[n + 1])
    set_status(engine, "alpha", "active")
    beat(engine, "live", 0, candles[HISTORY + 4].close_ms + 1, {})
    await announce(bus, "alpha")
    await _judged(engine, "alpha", candles[HISTORY + 4])
    times = bench.scalar(engine, "SELECT count(*) FROM signals")
    assert times == 2
    assert find_bot(engine, "alpha").state == "running"


async def test_no_decision_is_stored_after_a_stop_and_the_time_until_the_start_is_not_traded(
    engine, bus, start
):
    """Stopped in the middle of a stream of candles that nobody announced: the process ends by itself, what it
    had not judged stays unjudged, and a start begins behind it."""
    candles = bench.walk(HISTORY + 41)
    bench.add_bot(engine, "alpha")
    _history(engine, candles)
    process = start("alpha")
    await _judged(engine, "alpha", candles[HISTORY - 1])
    for n in range(HISTORY, HISTORY + 20):
        bench.store(engine, [candles[n]])
        await bench.publish(bus, candles[n], candles[n + 1])
    set_status(engine, "alpha", "stopped")
    judged = bench.scalar(engine, "SELECT count(*) FROM signals")
    for n in range(HISTORY + 20, HISTORY + 40):
        bench.store(engine, [candles[n]])
        await bench.publish(bus, candles[n], candles[n + 1])
    await bench.until(lambda: process.poll() is not None, "the process ended")
    assert process.returncode == 0
    assert bench.last_candle_ms(engine, "alpha") is None
    assert bench.scalar(engine, "SELECT count(*) FROM signals") == judged
    assert bench.scalar(engine, "SELECT count(*) FROM orders WHERE status = 'open'") == 0
    set_status(engine, "alpha", "active")
    beat(engine, "live", 0, candles[HISTORY + 39].close_ms + 1, {})
    start("alpha")
    await _judged(engine, "alpha", candles[HISTORY + 39])
    assert bench.scalar(engine, "SELECT count(*) FROM signals") == judged + 1


async def test_without_redis_candles_are_read_from_the_database(engine, database_url, unused_port, tmp_path):
    """Nobody listens at the bus: every candle is judged all the same."""
    candles = bench.walk(HISTORY + 20)
    bench.add_bot(engine, "alpha")
    _history(engine, candles)
    nowhere = f"redis://127.0.0.1:{unused_port}/0"
    process = bench.start_runner("alpha", database_url, nowhere, tmp_path / "log")
    try:
        await _judged(engine, "alpha", candles[HISTORY - 1])
        bench.store(engine, candles[HISTORY : HISTORY + 20])
        await _judged(engine, "alpha", candles[HISTORY + 19])
        assert len(bench.history(engine, "alpha")["signals"]) == 21
    finally:
        process.kill()
        process.wait()


def test_a_bot_that_catches_up_slowly_gets_to_its_heartbeat_between_candles(engine):
    """A strategy that takes 0.6 s over each of forty missed candles: the bot comes back after two of them,
    and one that takes longer than the limit still judges one at a time."""
    candles = bench.walk(HISTORY + 40)
    bench.add_bot(engine, "alpha")
    _history(engine, candles)
    clock = _WorkClock()

    @contextmanager
    def judging() -> Iterator[None]:
        yield
        clock.ms += clock.judgement_ms

    bot = Bot(find_bot(engine, "alpha"), engine, clock, lambda message: None, judging)
    assert bot.catch_up()
    bench.store(engine, candles[HISTORY:])
    for judgement_ms, judged in ((600, 2), (600, 4), (5_000, 5), (0, 40)):
        clock.judgement_ms = judgement_ms
        bot.catch_up()
        assert bot.judged == judged


class _WorkClock:
    """Goes on only while a strategy works."""

    ms, judgement_ms = 1_760_000_000_000, 0

    def now_ms(self) -> int:
        """The time."""
        return self.ms


async def test_the_kill_switch_cancels_and_vetoes_orders(engine, bus, start):
    """While it is on, signals are stored, every order is rejected with the reason, nothing is traded."""
    candles = bench.walk(HISTORY + 41)
    bench.add_bot(engine, "alpha")
    _history(engine, candles)
    set_kill_switch(engine, on=True)
    assert cancel_open_orders(engine, "the kill switch") == 0
    start("alpha")
    await _judged(engine, "alpha", candles[HISTORY - 1])
    bench.store(engine, candles[HISTORY : HISTORY + 40])
    await _judged(engine, "alpha", candles[HISTORY + 39])
    rows = bench.history(engine, "alpha")
    assert rows["orders"] and {(row[6], row[7]) for row in rows["orders"]} == {
        ("rejected", "the kill switch is on")
    }
    assert not rows["trades"]


async def test_a_failing_strategy_is_a_crash_with_its_stack_trace(engine, start):
    """The process ends with code 1, and bot_crashes has the trace of what went wrong."""
    candles = bench.walk(HISTORY)
    bench.add_bot(engine, "alpha", parameters={"fast_period": 3, "slow_period": 8})
    _history(engine, candles)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE signals ADD CHECK (confidence > 2)")
    process = start("alpha")
    await bench.until(lambda: process.poll() is not None, "the process ended")
    assert process.returncode == 1
    assert "CheckViolation" in bench.scalar(engine, "SELECT stack_trace FROM bot_crashes")
    assert "CheckViolation" in (find_bot(engine, "alpha").last_error or "")


async def test_an_unknown_bot_ends_at_once_with_the_known_names(engine, database_url, redis_url, tmp_path):
    """Exit code 2 and one line."""
    bench.add_bot(engine, "alpha")
    process = bench.start_runner("beta", database_url, redis_url, tmp_path / "log")
    assert process.wait(60) == 2
    assert (tmp_path / "log").read_text() == "bot: 'beta' is not known; known: alpha\n"
