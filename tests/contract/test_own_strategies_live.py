"""A bot with a strategy of the user's folder: what an edit, a mistake and a restart do to it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from config.settings import PROJECT_ROOT
from live.bots.runner_codes import UNUSABLE
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import beat
from tests import bot_bench as bench
from tests.contract.test_strategy_catalogue import write

pytestmark = pytest.mark.servers
HIGH, LOW = 1e9, 0.0


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database."""
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


def _start(folder: Path, database_url: str, redis_url: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "TCP_DATABASE_URL": database_url,
        "TCP_REDIS_URL": redis_url,
        "TCP_STRATEGIES_DIR": str(folder),
    }
    command = [sys.executable, "-m", "live.bots.runner", "mine"]
    with (folder / "mine.log").open("wb") as log:
        return subprocess.Popen(command, cwd=PROJECT_ROOT, env=environment, stdout=log, stderr=log)


async def test_a_bot_keeps_what_it_began_with_until_it_is_started_again(
    engine: Engine, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    """An edit, a broken neighbour and a mistake in its own file do not reach a running bot; started again it
    is told file and line, and once that is mended it runs the new text."""
    candles = bench.walk(60)
    write(tmp_path, "mine.py", level=HIGH)  # below it at any price: always a buy
    bench.add_bot(engine, "mine", strategy="mine", parameters={})
    bench.store(engine, candles[:50])
    beat(engine, "live", 0, candles[49].close_ms + 1, {})
    bus = RedisBus(redis_url)
    process = _start(tmp_path, database_url, redis_url)

    async def judges(n: int) -> str:
        bench.store(engine, [candles[n]])
        beat(engine, "live", 0, candles[n].close_ms + 1, {})
        await bench.publish(bus, candles[n])
        await bench.until(lambda: bench.last_candle_ms(engine, "mine") == candles[n].close_ms, "judged")
        said = "SELECT signal_type FROM signals ORDER BY timestamp DESC LIMIT 1"
        return str(bench.scalar(engine, said))

    try:
        await bench.until(lambda: bench.last_candle_ms(engine, "mine") == candles[49].close_ms, "begun")
        assert await judges(50) == "buy"
        write(tmp_path, "mine.py", level=LOW)
        (tmp_path / "neighbour.py").write_text("x = (\n")
        assert await judges(51) == "buy"
        (tmp_path / "mine.py").write_text("import polars\nx = (\n")
        assert await judges(52) == "buy"
        process.terminate()
        assert process.wait(60) == 0
        process = _start(tmp_path, database_url, redis_url)
        assert process.wait(60) == UNUSABLE
        assert f"{tmp_path / 'mine.py'}, line 2: SyntaxError" in (tmp_path / "mine.log").read_text()
        write(tmp_path, "mine.py", level=LOW)
        process = _start(tmp_path, database_url, redis_url)
        assert await judges(53) == "sell"
    finally:
        process.kill()
        process.wait()
        await bus.close()
