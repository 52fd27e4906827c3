"""Parity of a bot whose configuration changed."""

import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from core.bot_states import Actual
from pipelines.backtest.live_parity import check_bot
from pipelines.warehouse.bot_starts import read_configurations
from pipelines.warehouse.bots import find_bot, record_state, set_status
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import beat
from tests import bot_bench as bench

pytestmark = pytest.mark.servers
HISTORY = 150
Lives = Callable[[int], Awaitable[None]]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database."""
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


def _url(engine: Engine) -> str:
    return str(engine.url.render_as_string(hide_password=False))


@pytest.fixture
def lives(engine: Engine, redis_url: str, tmp_path: Path) -> Iterator[Lives]:
    """Lets the process of bot `alpha` judge candles that are stored, and then stops it."""
    running: list[subprocess.Popen[bytes]] = []

    async def lives(until_ms: int) -> None:
        set_status(engine, "alpha", "active")
        process = bench.start_runner("alpha", _url(engine), redis_url, tmp_path / "log")
        running.append(process)
        await bench.until(lambda: bench.last_candle_ms(engine, "alpha") == until_ms, "all is judged")
        set_status(engine, "alpha", "stopped")
        await bench.until(lambda: process.poll() is not None, "the process ended")
        record_state(engine, find_bot(engine, "alpha").id, Actual.STOPPED)  # as the supervisor does

    yield lives
    for process in running:
        process.kill()
        process.wait()


async def test_a_bot_that_was_stopped_for_a_change_is_compared_from_there_on(
    engine: Engine, lives: Lives
) -> None:
    """Stopped, given other parameters, started: what was before is the former configuration's, and neither is
    compared with the other."""
    candles = bench.walk(HISTORY + 200)
    first, second = candles[HISTORY + 79].close_ms, candles[-1].close_ms
    bench.add_bot(engine, "alpha")
    bench.store(engine, candles[: HISTORY + 80])
    beat(engine, "live", 0, candles[HISTORY - 1].close_ms + 1, {})
    await lives(first)
    bench.add_bot(engine, "alpha", parameters={"fast_period": 2, "slow_period": 6})
    bench.store(engine, candles[: HISTORY + 100])
    beat(engine, "live", 0, candles[HISTORY + 99].close_ms + 1, {})
    bench.store(engine, candles)
    await lives(second)
    former, newer = read_configurations(engine, find_bot(engine, "alpha"))
    assert former.after_candle is None and former.document["parameters"]["fast_period"] == 3
    assert newer.after_candle is not None and newer.document["parameters"]["fast_period"] == 2
    report = check_bot(_url(engine), "alpha")
    assert report.differences == []
    assert report.changed is not None and report.fills > 2
    before = check_bot(_url(engine), "alpha", end_ms=first)
    assert before.differences == [] and before.changed is None and before.candles == 81
