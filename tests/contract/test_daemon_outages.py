"""The daemon while its servers hang, crash, run full and forget: each is told once, nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from config.settings import PROJECT_ROOT
from core.timeframes import Timeframe
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.database import migrate
from tests.own_servers import OwnServer, own_postgres, own_redis
from tests.sql_candles import candles_by_sql, holes_by_sql

pytestmark = [pytest.mark.servers, pytest.mark.timeout(240)]

RUN = ("-c", "from config.settings import settings; from live.daemon import run; run(settings())")
COMMAND = ("-m", "cli.main", "live")
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
PATIENCE = 1.6
"""A busy machine takes so many times as long."""


class Platform:
    """A daemon on servers of its own, and what they say."""

    def __init__(self, postgres: OwnServer, redis_server: OwnServer, environment: dict[str, str]) -> None:
        self.home = Path(environment["TCP_HOME"])
        self.log = self.home / "daemon.log"
        self.postgres, self.redis = postgres, redis_server
        self._environment = environment
        self.start()

    def start(self, arguments: tuple[str, ...] = RUN) -> None:
        with self.log.open("ab") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=PROJECT_ROOT,
                env=self._environment,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def scalar(self, query: str) -> int:
        """0 while the server is away."""
        try:
            with engine_of(self.postgres.url, 2).connect() as connection:
                return connection.execute(text(query)).scalar() or 0
        except DBAPIError:
            return 0

    def minutes(self) -> int:
        return self.scalar(
            "SELECT count(*) FROM market_data WHERE timeframe = '1m' AND source <> 'exchange' "
            "AND symbol = 'BTC-USDT'"
        )

    def events(self) -> Counter[str]:
        with engine_of(self.postgres.url, 2).connect() as connection:
            return Counter(connection.execute(text("SELECT event FROM system_events")).scalars())

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.daemon.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < deadline, self.events()
            time.sleep(0.2)

    def goes_on(self) -> None:
        """Two more minutes are built and stored."""
        before = self.minutes()
        self.until(lambda: self.minutes() >= before + 2)

    def heals(self, seconds: float = 60) -> None:
        """All of every symbol is there and right in the end."""
        deadline = time.monotonic() + seconds
        while wounds := [wound for symbol in SYMBOLS for wound in _wounds(self.postgres.url, symbol)]:
            assert time.monotonic() < deadline, "\n".join(wounds[:20])
            time.sleep(0.2)


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """Three symbols at half a minute a second."""
    (tmp_path / "config" / "bots").mkdir(parents=True)
    sim = subprocess.Popen(
        [sys.executable, "-m", "pipelines.exchanges.sim", "--speed", "30"],
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert sim.stdout is not None
    urls = json.loads(sim.stdout.readline())
    with own_postgres() as postgres, own_redis() as redis_server:
        migrate(postgres.url)
        environment = os.environ | {
            "TCP_DATABASE_URL": postgres.url,
            "TCP_REDIS_URL": redis_server.url,
            "TCP_OKX_REST_URL": urls["rest"],
            "TCP_OKX_WS_URL": urls["ws"],
            "TCP_CONFIG_DIR": str(tmp_path / "config"),
            "TCP_HOME": str(tmp_path),
            "TCP_HISTORY_DAYS": "0",
            "TCP_TIMEFRAMES": "1m,5m",
            "TCP_SYMBOLS": ",".join(SYMBOLS),
        }
        running = Platform(postgres, redis_server, environment)
        try:
            yield running
        finally:
            running.daemon.kill()
            running.daemon.wait()
            sim.kill()
            sim.wait()
            sim.stdout.close()
            engine_of(postgres.url).dispose()
            engine_of(postgres.url, 2).dispose()


def test_hung_crashed_full_and_forgetful_servers_cost_nothing_and_are_told_once(platform):
    platform.until(lambda: platform.minutes() >= 2)

    platform.redis.hang()
    platform.until(lambda: platform.events()["redis_away"] == 1)
    platform.goes_on()
    platform.redis.resume()
    platform.until(lambda: platform.events()["redis_back"] == 1)

    with redis.Redis.from_url(platform.redis.url) as client:
        client.config_set("maxmemory", "1")
        platform.until(lambda: platform.events()["redis_away"] == 2)
        client.config_set("maxmemory", "0")
        platform.until(lambda: platform.events()["redis_back"] == 2)
    platform.redis.kill()
    platform.until(lambda: platform.events()["redis_away"] == 3)
    platform.redis.start()
    platform.until(lambda: platform.events()["redis_back"] == 3)
    with redis.Redis.from_url(platform.redis.url) as client:
        platform.until(lambda: all(client.get(f"last:{symbol}") for symbol in SYMBOLS))

    platform.postgres.hang()
    time.sleep(12)  # the outage itself
    platform.postgres.resume()
    platform.until(lambda: platform.events()["postgres_back"] == 1)
    platform.goes_on()
    platform.postgres.kill()
    platform.postgres.start()
    platform.until(lambda: platform.events()["postgres_back"] == 2)

    platform.daemon.send_signal(signal.SIGKILL)
    platform.daemon.wait()
    platform.start()
    platform.goes_on()
    for symbol in SYMBOLS:
        live = f"SELECT count(*) FROM heartbeats WHERE details #>> '{{symbols,{symbol},state}}' = 'live'"
        platform.until(lambda query=live: platform.scalar(query))
    told = platform.events()
    assert (told["redis_away"], told["redis_back"]) == (3, 3)
    assert (told["postgres_away"], told["postgres_back"]) == (2, 2)
    platform.heals()


def test_a_stop_while_postgres_hangs_ends_in_five_seconds_and_the_next_start_has_all(platform):
    platform.until(lambda: platform.minutes() >= 2)
    platform.postgres.hang()
    time.sleep(2)  # trades of a minute that nobody takes
    asked = time.monotonic()
    platform.daemon.terminate()
    assert platform.daemon.wait(30) == 0
    took_s = time.monotonic() - asked
    assert took_s < 5 * PATIENCE
    assert list((platform.home / "spool").rglob("*.spool"))
    platform.postgres.resume()
    platform.start()
    platform.goes_on()
    assert not list((platform.home / "spool").rglob("*.spool"))
    platform.heals()


def test_a_stop_right_after_postgres_hung_ends_in_five_seconds(platform):
    """When none of its parts is in the middle of a question yet."""
    platform.until(lambda: platform.minutes() >= 2)
    platform.postgres.hang()
    asked = time.monotonic()
    platform.daemon.terminate()
    assert platform.daemon.wait(60) == 0
    assert time.monotonic() - asked < 5 * PATIENCE
    platform.postgres.resume()
    platform.start()
    platform.goes_on()
    platform.heals()


def test_it_starts_without_redis_and_publishes_when_that_is_there(platform):
    platform.until(lambda: platform.minutes() >= 1)
    platform.daemon.terminate()
    assert platform.daemon.wait(30) == 0
    platform.redis.kill()
    platform.start(COMMAND)
    platform.goes_on()
    assert platform.events()["redis_away"] == 1
    platform.redis.start()
    platform.until(lambda: platform.events()["redis_back"] == 1)
    with redis.Redis.from_url(platform.redis.url) as client:
        platform.until(lambda: all(client.get(f"last:{symbol}") for symbol in SYMBOLS))
    assert "going on without Redis" in platform.log.read_text()


def _wounds(url: str, symbol: str) -> list[str]:
    """What is not as it should be once all that a start asks for again is there: an id missing or twice,
    a minute that is not of its trades; in words."""
    with engine_of(url).connect() as connection:
        rows = connection.execute(
            text(
                "SELECT (extract(epoch FROM timestamp) * 1000)::bigint, open, high, low, close, volume, "
                "trades_count, source FROM market_data WHERE symbol = :symbol AND timeframe = '1m' "
                "AND source <> 'exchange' ORDER BY timestamp"
            ),
            {"symbol": symbol},
        ).all()
    closes = [row[0] for row in rows]
    by_sql = candles_by_sql(url, symbol, Timeframe.M1)
    holes = holes_by_sql(url, symbol)
    return [
        *([f"{symbol}: {holes} holes between ids"] if holes else []),
        *(f"{symbol}: no minute {at}" for at in range(closes[0], closes[-1], 60_000) if at not in closes),
        *(
            f"{symbol}: {tuple(row)} is {by_sql.get(row[0])} by SQL"
            for row in rows
            if row.source == "trades" and tuple(row)[:7] != by_sql.get(row[0])
        ),
    ]
