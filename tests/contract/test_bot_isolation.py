"""Strategies that go wrong in every way: each is found, its stack is on record, and no other bot notices."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine

from config.settings import Settings
from live.bots.process import LAST_IN_LINE
from live.bots.supervisor import BotSupervisor
from live.bots.vitals import Limits
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.bots import find_bot
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import beat
from tests import bot_bench as bench
from tests.bot_programs import STRATEGY

pytestmark = pytest.mark.servers

PLANTED = f"""
import threading
import time
{STRATEGY}
    def judge(self, candles):
        self.planted()
        return candles.with_columns(buy=pl.lit(False), sell=pl.lit(False), confidence=pl.lit(1.0))

    def planted(self):
{{body}}
"""
KINDS = {
    "Hanging": "while True: pass",
    "Leaking": "kept = [bytearray(50_000_000) for _ in range(1_000)]",
    "Raising": "raise ZeroDivisionError('of the strategy')",
    "Dawdling": "time.sleep(2)",
    "Burning": "threading.Thread(target=self.spin, daemon=True).start()",
    "Slow": "time.sleep(0.3)",
    "Healthy": "pass",
}
SPIN = """
    def spin(self):
        while True: sum(range(1000))
"""
FOUND = {
    "Hanging": ("hung: no heartbeat for 6 s", "in planted"),
    "Leaking": ("MemoryError", "in planted"),
    "Raising": ("ZeroDivisionError: of the strategy", "in planted"),
    "Dawdling": ("the strategy took 2.", "in planted"),
    "Burning": ("s of processor time beyond 2 % of a core", "in spin"),
}
"""Words of the reason and of the stack trace."""


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database, with a market in it."""
    engine = engine_of(database_url)
    candles = bench.walk(60)
    bench.store(engine, candles[:50])
    beat(engine, "live", 0, candles[49].close_ms + 1, {})
    yield engine
    engine.dispose()


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisBus]:
    """The test's Redis."""
    bus = RedisBus(redis_url)
    yield bus
    await bus.close()


@pytest.fixture
async def supervised(
    tmp_path: Path, database_url: str, redis_url: str, engine: Engine, bus: RedisBus
) -> AsyncIterator[None]:
    """A supervisor with a bot of each kind, whose limits are tight and which gives up at once."""
    for kind, body in KINDS.items():
        text = PLANTED.format(kind=kind, body=f"        {body}") + (SPIN if kind == "Burning" else "")
        (tmp_path / f"{kind.lower()}.py").write_text(text)
        bench.add_bot(engine, kind.lower(), strategy=kind.lower(), parameters={})
    settings = Settings(
        home=tmp_path / "var",
        config_dir=tmp_path / "config",
        strategies_dir=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        bot_judgement_s=1,
    )
    limits = Limits(
        look_s=0.5, hung_s=6.0, memory_bytes=1_500_000_000, free_share=0.02, burn_s=8.0, restarts=0
    )
    task = asyncio.create_task(BotSupervisor(settings, engine, bus, limits).run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.timeout(240)
async def test_what_a_strategy_does_wrong_is_found_and_disturbs_no_other_bot(
    supervised: None, engine: Engine, bus: RedisBus
) -> None:
    """Endless loop, leak, exception, slowness, a thread that burns a core: each bot ends in error with reason
    and stack trace and an event; the healthy one keeps its process and judges what comes. The killed one has
    no words of its own."""
    for kind in FOUND:
        name = kind.lower()
        await bench.until(
            lambda name=name: find_bot(engine, name).state == "error", f"{name} is in error", 120
        )
    reasons = "SELECT reason FROM bot_crashes JOIN bots b ON b.id = bot_id WHERE name = :name"
    traces = "SELECT stack_trace FROM bot_crashes JOIN bots b ON b.id = bot_id WHERE name = :name"
    for kind, (reason, place) in FOUND.items():
        assert reason in bench.scalar(engine, reasons, name=kind.lower()), kind
        assert place in bench.scalar(engine, traces, name=kind.lower()), kind
    alerts = "SELECT count(*) FROM system_events WHERE event = 'bot_error' AND level = 'error'"
    assert bench.scalar(engine, alerts) == len(FOUND)
    warned = "SELECT count(*) FROM system_events WHERE event = :event AND message ~ :words"
    slow = {"event": "bot_slow", "words": r"bot slow took 0\.[3-9] s over one candle"}
    await bench.until(lambda: bench.scalar(engine, warned, **slow) == 1, "the slow one is told")
    assert find_bot(engine, "slow").state == "running"
    healthy, candle = find_bot(engine, "healthy"), bench.walk(60)[50]
    bench.store(engine, [candle])
    await bench.publish(bus, candle)
    await bench.until(
        lambda: bench.last_candle_ms(engine, "healthy") == candle.close_ms, "the healthy one judges"
    )
    assert (healthy.state, healthy.pid) == ("running", find_bot(engine, "healthy").pid)
    assert bench.scalar(engine, "SELECT count(*) FROM bot_crashes WHERE bot_id = :id", id=healthy.id) == 0
    assert healthy.pid is not None
    os.kill(healthy.pid, signal.SIGKILL)
    await bench.until(lambda: find_bot(engine, "healthy").state == "error", "the killed one is in error")
    assert bench.scalar(engine, reasons, name="healthy") == "killed by signal 9"


async def test_a_bot_that_burns_gives_way_before_it_is_ended(
    tmp_path: Path, database_url: str, redis_url: str, engine: Engine, bus: RedisBus
) -> None:
    """Long before its time is over it has the lowest priority, is told once, and runs on."""
    text = PLANTED.format(kind="Burning", body=f"        {KINDS['Burning']}") + SPIN
    (tmp_path / "burning.py").write_text(text)
    bench.add_bot(engine, "burning", strategy="burning", parameters={})
    settings = Settings(
        home=tmp_path / "var",
        config_dir=tmp_path / "config",
        strategies_dir=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
    )
    limits = Limits(look_s=0.5, free_share=0.02, busy_s=0.5, burn_s=1_000, hung_s=300)
    task = asyncio.create_task(BotSupervisor(settings, engine, bus, limits).run())
    try:
        told = "SELECT count(*) FROM system_events WHERE event = 'bot_busy' AND level = 'warning'"
        await bench.until(lambda: bench.scalar(engine, told) == 1, "it is told", 120)
        bot = find_bot(engine, "burning")
        assert psutil.Process(bot.pid).nice() == LAST_IN_LINE
        assert bot.state == "running" and bench.scalar(engine, "SELECT count(*) FROM bot_crashes") == 0
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert bench.scalar(engine, told) == 1
