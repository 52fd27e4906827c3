"""The live daemon as a process: one a database, seen by its heartbeat, stopped cleanly, killed at no loss."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from config.settings import PROJECT_ROOT
from core.timeframes import Timeframe
from pipelines.bus.books import read_book
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.backups import backup_age_s
from pipelines.warehouse.database import engine as engine_of
from tests.sql_candles import candles_by_sql, holes_by_sql

pytestmark = pytest.mark.servers

RUN = "from config.settings import settings; from live.daemon import run; run(settings())"


@pytest.fixture
def environment(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Of a daemon without bots, on a simulated exchange at a minute a second."""
    (tmp_path / "config" / "bots").mkdir(parents=True)
    sim = subprocess.Popen(
        [sys.executable, "-m", "pipelines.exchanges.sim", "--speed", "60"],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert sim.stdout is not None
    urls = json.loads(sim.stdout.readline())
    yield os.environ | {
        "TCP_DATABASE_URL": database_url,
        "TCP_REDIS_URL": redis_url,
        "TCP_OKX_REST_URL": urls["rest"],
        "TCP_OKX_WS_URL": urls["ws"],
        "TCP_CONFIG_DIR": str(tmp_path / "config"),
        "TCP_HOME": str(tmp_path),
        "TCP_HISTORY_DAYS": "0",
        "TCP_TIMEFRAMES": "1m,5m",
        "TCP_SYMBOLS": "BTC-USDT,ETH-USDT",
    }
    sim.kill()
    sim.wait()
    sim.stdout.close()


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=PROJECT_ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def heartbeat(database_url: str) -> dict:
    with engine_of(database_url).connect() as connection:
        row = connection.execute(text("SELECT details FROM heartbeats WHERE component = 'live'")).scalar()
    return row or {"symbols": {}}


def own_minutes(database_url: str) -> int:
    with engine_of(database_url).connect() as connection:
        query = text("SELECT count(*) FROM market_data WHERE timeframe = '1m' AND source <> 'exchange'")
        return connection.execute(query).scalar() or 0


def book(redis_url: str, symbol: str) -> dict[str, Any] | None:
    async def read() -> dict[str, Any] | None:
        bus = RedisBus(redis_url)
        try:
            return await read_book(bus, symbol)
        finally:
            await bus.close()

    return asyncio.run(read())


def all_live(health: dict) -> bool:
    """Whether both symbols are collected, over two connections that bring trades and nothing unknown."""
    sockets = health["connections"]
    return (
        {symbol["state"] for symbol in health["symbols"].values()} == {"live"}
        and [(row["state"], row["unknown_frames"]) for row in sockets] == [("live", 0)] * 2
        and all(row["trades"] > 0 and row["latency_p99_ms"] is not None for row in sockets)
    )


def test_it_says_how_it_is_refuses_a_second_one_and_stops_cleanly_in_five_seconds(
    environment, database_url, redis_url
):
    daemon = start(environment)
    try:
        until(lambda: own_minutes(database_url) >= 4)
        health = heartbeat(database_url)
        assert health["pid"] == daemon.pid
        assert health["feed"] == "live"
        assert set(health["disk_free_bytes"]) == {"home", "lake"}
        assert all(free > 0 for free in health["disk_free_bytes"].values())
        assert backup_age_s(engine_of(database_url)) is not None
        # The rate is that of the last eight answers; one late answer among the first bends it for a moment.
        until(lambda: heartbeat(database_url)["clock_rate"] == pytest.approx(60, rel=0.1))
        until(lambda: all_live(heartbeat(database_url)))
        assert health["rest_url"] == environment["TCP_OKX_REST_URL"]
        for symbol in ("BTC-USDT", "ETH-USDT"):
            until(lambda s=symbol: book(redis_url, s) is not None)
            top = book(redis_url, symbol)
            assert (len(top["bids"]), len(top["asks"])) == (5, 5)

        second = start(environment)
        _, errors = second.communicate(timeout=60)
        assert second.returncode != 0
        assert "another live daemon runs on this database" in errors

        asked = time.monotonic()
        code, errors = end(daemon, signal.SIGTERM)
        assert (code, errors) == (0, "")
        assert time.monotonic() - asked < 5
    finally:
        daemon.kill()
        daemon.communicate()
    with engine_of(database_url).connect() as connection:
        events = connection.execute(
            text("SELECT event FROM system_events WHERE component = 'live'")
        ).scalars()
        assert {"started", "feed_live"} <= set(events)


def check_whole(database_url: str, symbol: str) -> None:
    """Every trade is there, every minute once, and each is what SQL makes of the trades."""
    by_sql = candles_by_sql(database_url, symbol, Timeframe.M1)
    with engine_of(database_url).connect() as connection:
        rows = connection.execute(
            text(
                "SELECT (extract(epoch FROM timestamp) * 1000)::bigint, open, high, low, close, volume, "
                "trades_count, source FROM market_data WHERE symbol = :symbol AND timeframe = '1m' "
                "AND source <> 'exchange' ORDER BY timestamp"
            ),
            {"symbol": symbol},
        ).all()
    assert holes_by_sql(database_url, symbol) == 0
    closes = [row[0] for row in rows]
    assert closes == list(range(closes[0], closes[-1] + 1, 60_000))
    traded = [tuple(row)[:7] for row in rows if row.source == "trades"]
    assert traded
    assert traded == [by_sql[row[0]] for row in traded]


def test_killed_twice_it_goes_on_and_every_minute_is_that_of_the_trades(environment, database_url):
    symbols = ("BTC-USDT", "ETH-USDT")
    for minutes in (6, 14, 22):
        daemon = start(environment)
        try:
            until(lambda m=minutes: own_minutes(database_url) >= m)
            if minutes == 22:  # what was missed while nobody ran may be asked for while new minutes close
                until(lambda: not any(holes_by_sql(database_url, symbol) for symbol in symbols))
        finally:
            daemon.kill()
            daemon.communicate()
    for symbol in symbols:
        check_whole(database_url, symbol)


def test_a_database_that_was_not_migrated_is_named_with_the_remedy(environment, database_url):
    with engine_of(database_url).begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    daemon = start(environment)
    _, errors = daemon.communicate(timeout=60)
    assert daemon.returncode != 0
    assert "tcp db migrate" in errors
