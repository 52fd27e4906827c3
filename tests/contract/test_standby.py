"""A second daemon that stands by takes over from one that is killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from cli.stack.ports import LOOPBACK
from cli.stack.redis import TESTS
from config.settings import PROJECT_ROOT
from pipelines.warehouse.database import SERVICE_ANSWER_S, migrate
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.lock import DaemonLock
from tests import bot_bench as bench
from tests.bot_audit import audit, differences, finish, repeat_calmly
from tests.cable import HERE, NETWORK, cable
from tests.contract.test_daemon import (
    RUN,
    check_whole,
    end,
    environment,
    heartbeat,
    own_minutes,
    start,
    until,
)
from tests.own_servers import KILLED, own_postgres, own_redis
from tests.sql_candles import holes_by_sql

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


SIM = """
import json, sys
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.run import run_forever
run_forever(SimOptions(host=sys.argv[1], speed=60), lambda urls: print(json.dumps(urls), flush=True))
"""
HOLD = """
import signal
from config.settings import settings
from pipelines.warehouse.database import SERVICE_ANSWER_S, engine
from sqlalchemy import text
with engine(settings().database_url{longest}).begin() as connection:
    connection.execute(text("{statement}"))
    print("held", flush=True)
    signal.pause()
"""
HELD = {"SELECT FROM instruments FOR UPDATE": ", SERVICE_ANSWER_S", "LOCK TABLE walk_forward_windows": ""}
"""What a service holds, and what a command or a run of Dagster does, whose statements may take any time."""
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


def test_machine_that_vanishes_loses_its_locks_and_its_place_within_ten_seconds(tmp_path):
    """Its cable is pulled, nothing says so to anybody: the other host collects, and what transactions of the
    first held is free, commands' too. When the cable is back the first daemon ends; no minute is missing."""
    with contextlib.ExitStack() as stack:
        try:
            line = stack.enter_context(cable())
        except PermissionError as error:
            pytest.skip(str(error))
        listen = {"listen_addresses": f"{LOOPBACK},{HERE}"}
        postgres = stack.enter_context(own_postgres({**KILLED, **listen}, NETWORK))
        redis = stack.enter_context(own_redis({**TESTS, "bind": f"{LOOPBACK} {HERE}"}))
        migrate(postgres.url)
        engine = engine_of(postgres.url)
        stack.callback(engine.dispose)
        (tmp_path / "config" / "bots").mkdir(parents=True)
        sim = subprocess.Popen(
            [sys.executable, "-c", SIM, HERE], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True
        )
        stack.callback(_end_of, sim)
        assert sim.stdout is not None
        urls = json.loads(sim.stdout.readline())

        def host(name: str, address: str, code: str, *before: str) -> subprocess.Popen[str]:
            variables = {
                **os.environ,
                "TCP_DATABASE_URL": postgres.url.replace(LOOPBACK, address),
                "TCP_REDIS_URL": redis.url.replace(LOOPBACK, address),
                "TCP_OKX_REST_URL": urls["rest"],
                "TCP_OKX_WS_URL": urls["ws"],
                "TCP_CONFIG_DIR": str(tmp_path / "config"),
                "TCP_HOME": str(tmp_path / name),
                "TCP_HISTORY_DAYS": "0",
                "TCP_TIMEFRAMES": "1m",
                "TCP_SYMBOLS": "BTC-USDT",
            }
            started = subprocess.Popen(
                [*before, sys.executable, "-c", code],
                cwd=PROJECT_ROOT,
                env=variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.callback(_end_of, started)
            return started

        first = host("a", HERE, RUN, *line.command())
        until(lambda: own_minutes(postgres.url) >= 3)
        for statement, longest in HELD.items():
            holding = host("a", HERE, HOLD.format(statement=statement, longest=longest), *line.command())
            assert holding.stdout is not None and "held" in holding.stdout.readline()
        second = host("b", LOOPBACK, STAND_BY)
        assert second.stdout is not None and "standing by" in second.stdout.readline()
        line.pull()
        pulled = time.monotonic()
        until(lambda: heartbeat(postgres.url).get("pid") == second.pid, 30)
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))
            for statement in HELD:
                connection.execute(text(statement))
        assert time.monotonic() - pulled < 10
        line.plug()
        assert "another live daemon took over" in first.communicate(timeout=60)[1]
        before = own_minutes(postgres.url)
        until(lambda: own_minutes(postgres.url) >= before + 3)
        until(lambda: not holes_by_sql(postgres.url, "BTC-USDT"))
        assert end(second, signal.SIGTERM)[0] == 0
        check_whole(postgres.url, "BTC-USDT")


def _end_of(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_lock_of_a_machine_that_is_gone_is_free_within_seconds(database_url):
    """The server is told to look whether the holder is there: no reply for six seconds ends its session.
    Sessions of services are so from the start, others but where they leave unread what they get."""
    plain = engine_of(database_url)
    assert bench.scalar(plain, "SELECT current_setting('tcp_keepalives_count')") == "3"
    assert bench.scalar(plain, "SELECT current_setting('tcp_user_timeout')") == "0"
    lock = DaemonLock(engine_of(database_url))
    assert lock.hold()
    try:
        shown = lock._connection.execute(
            text("SELECT current_setting('tcp_keepalives_idle'), current_setting('tcp_user_timeout')")
        ).one()
        assert tuple(shown) == ("3", "6000")
        service = engine_of(database_url, SERVICE_ANSWER_S)
        assert bench.scalar(service, "SELECT current_setting('tcp_user_timeout')") == "6000"
    finally:
        lock.release()
