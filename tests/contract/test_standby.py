"""A second daemon that stands by takes over from one that is killed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from config.settings import PROJECT_ROOT
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.lock import DaemonLock
from tests import bot_bench as bench
from tests.bot_audit import audit, differences, finish, repeat_calmly
from tests.contract.test_daemon import check_whole, end, environment, heartbeat, start, until

pytestmark = pytest.mark.servers
__all__ = ["environment"]

STAND_BY = "from config.settings import settings; from live.daemon import run; run(settings(), standby=True)"


def stand_by(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STAND_BY],
        cwd=PROJECT_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


BOT = {
    "bot_id": "mine",
    "strategy": "sma_crossover",
    "parameters": {"fast_period": 2, "slow_period": 4},
    "symbol": "BTC-USDT",
    "timeframe": "1m",
    "virtual_balance": 10_000,
    "risk": {"stop_loss": 0.002},
}


def test_standby_takes_over_within_ten_seconds_and_nothing_is_lost_or_doubled(environment, database_url):
    """Every minute is that of the trades, none is missing, each is there once; so is each signal, order and
    fill of a bot, equal to those of one that nothing disturbed; who waits can be ended."""
    (Path(environment["TCP_CONFIG_DIR"]) / "bots" / "mine.json").write_text(json.dumps(BOT))
    engine = engine_of(database_url)

    def count(table: str) -> int:
        return bench.scalar(engine, f"SELECT count(*) FROM {table}")

    running = start(environment)
    started = [running]
    try:
        until(lambda: count("trades") >= 2)
        first, second = (stand_by(environment) for _ in range(2))
        started += [first, second]
        for waiting in (first, second):
            assert waiting.stdout is not None and "standing by" in waiting.stdout.readline()
        assert end(second, signal.SIGTERM)[0] == 0
        killed = time.monotonic()
        running.kill()
        until(lambda: heartbeat(database_url).get("pid") == first.pid, 30)
        assert time.monotonic() - killed < 10
        judged, traded = count("signals"), count("trades")
        until(lambda: count("signals") >= judged + 12 and count("trades") > traded, 90)
        assert end(first, signal.SIGTERM)[0] == 0
    finally:
        for process in started:
            process.kill()
            process.communicate()
    for symbol in ("BTC-USDT", "ETH-USDT"):
        check_whole(database_url, symbol)
    finish(engine, "mine")
    assert audit(engine) == []
    assert differences(engine, "mine", repeat_calmly(engine, "mine")) == []
    assert count("bot_crashes") == 0
    engine.dispose()


def test_lock_of_a_machine_that_is_gone_is_free_within_seconds(database_url):
    """The server is told to look whether the holder is there: no reply for six seconds ends its session."""
    lock = DaemonLock(engine_of(database_url))
    assert lock.hold()
    try:
        shown = lock._connection.execute(
            text("SELECT current_setting('tcp_keepalives_idle'), current_setting('tcp_user_timeout')")
        ).one()
        assert tuple(shown) == ("3", "6000")
    finally:
        lock.release()
