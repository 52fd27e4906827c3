"""The product under fire: an exchange that misbehaves, a daemon that is killed, servers that stop."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from sqlalchemy import Engine

from cli.stack import process
from cli.stack.ports import free_port
from config.settings import PROJECT_ROOT
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.database import migrate
from tests.emitted import Emitted
from tests.own_servers import OwnServer, own_postgres, own_redis

SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT", "DOGE-USDT")
RESTART_S = 0.3
START_S = 60.0
STOP_S = 15.0
DAY_MS = 86_400_000
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Market:
    """What the exchange emits. speed: virtual seconds a second; faults: see `fault_plan.py`"""

    seed: int
    activity: float
    speed: float
    start_ms: int
    end_ms: int
    faults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def wall_s(self) -> float:
        """How long the exchange emits."""
        return (self.end_ms - self.start_ms) / 1000 / self.speed

    def command(self, port: int) -> list[str]:
        """`tcp sim` of this market."""
        start, end = (
            datetime.fromtimestamp(ms / 1000, UTC).isoformat() for ms in (self.start_ms, self.end_ms)
        )
        return [
            *_tcp("sim", "--port", str(port), "--seed", str(self.seed), "--activity", str(self.activity)),
            *("--speed", str(self.speed), "--start", start, "--end", end),
            *("--faults", json.dumps(dict(self.faults))),
        ]


class LiveDaemon(Protocol):
    """What collects: one daemon, or one of several on one database."""

    @property
    def exits(self) -> Sequence[int]:
        """Exit codes so far."""

    @property
    def pid(self) -> int | None:
        """Of the process that collects."""

    def says(self, event: str) -> bool:
        """Whether it has logged that event in this life."""

    def kill(self, collecting: bool, after_s: float) -> None:
        """SIGKILL."""

    def stop(self) -> int:
        """SIGTERM, for good; the exit code."""


class Daemon:
    """`tcp live`, or another command, started again whenever it ends, as a supervisor does it. Its log is
    `log`.

    exits: exit codes so far, each of a life of its own
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        arguments: Sequence[str] = ("live",),
        restart_s: float = RESTART_S,
    ) -> None:
        self.log = log
        self.exits: list[int] = []
        self._arguments, self._restart_s = arguments, restart_s
        self._environment = dict(environment)
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._process = self._launch()
        self._keeper = threading.Thread(target=self._keep, name="keeper")
        self._keeper.start()

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process.poll() is None else None

    def says(self, event: str) -> bool:
        """Whether the running process has logged that event."""
        with self.log.open("rb") as log:
            log.seek(self._life_at)
            return self.pid is not None and f'"{event}"'.encode() in log.read()

    def kill(self, collecting: bool, after_s: float) -> None:
        """SIGKILL some time after it was started, or after it began to collect: in whichever life gets so far
        first."""
        while True:
            process.wait_until(
                lambda: self.says("feed_live") if collecting else self.pid is not None, START_S, "the daemon"
            )
            pid = self.pid
            time.sleep(after_s)
            if pid is not None and pid == self.pid:
                self._process.kill()
                self._process.wait()
                return

    def stop(self) -> int:
        """SIGTERM; the exit code. A second call only repeats it."""
        with self._starting:
            self._stopping.set()
            running = self._process
        running.terminate()
        self._keeper.join(STOP_S)
        if self._keeper.is_alive():
            running.kill()
            self._keeper.join()
        return self.exits[-1]

    def _keep(self) -> None:
        while True:
            self.exits.append(self._process.wait())
            self._stopping.wait(self._restart_s)
            with self._starting:
                if self._stopping.is_set():
                    return
                self._process = self._launch()

    def _launch(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as output:
            self._life_at = output.tell()
            return subprocess.Popen(
                _tcp(*self._arguments),
                cwd=PROJECT_ROOT,
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


@dataclass
class Rig:
    """Everything that runs. `engine` is for looking on, from the test's side; trades: how many are emitted;
    began: monotonic time of the exchange's start; environment: of the daemon, for others beside it."""

    market: Market
    daemon: "LiveDaemon"
    postgres: OwnServer
    redis: OwnServer
    engine: Engine
    emitted: Emitted
    trades: int
    began: float
    environment: Mapping[str, str]

    def settled(self, seconds: float) -> tuple[list[str], dict[str, int]]:
        """What is still different, and what was compared, when nothing is or when time is up."""
        deadline = time.monotonic() + seconds
        while True:
            faults, compared = self.emitted.faults()
            if not faults or time.monotonic() > deadline:
                return faults, compared
            time.sleep(1)


@dataclass(frozen=True)
class Havoc:
    """What is killed and stopped, and when: drawn from a seed.

    kills: of the daemon, each within `life_s` after it began to collect, one in eight while it starts
    stops: of each of Postgres and Redis, every stop at most `away_s` long, one each `pause_s` or so
    """

    seed: int
    kills: int
    stops: int
    life_s: float = 12.0
    away_s: float = 4.0
    pause_s: float = 12.0

    def wreak(self, rig: Rig) -> None:
        """Do all of it, and leave everything running."""
        # The servers are started by this thread: they end with the one that started them.
        with ThreadPoolExecutor(1, "killer") as killer:
            killing = killer.submit(self._kill, rig.daemon)
            self._stop_servers(rig)
            killing.result()

    def _kill(self, daemon: LiveDaemon) -> None:
        drawn = random.Random(f"{self.seed}/kills")
        for place in range(self.kills):
            starting = place % 8 == 7
            daemon.kill(not starting, drawn.uniform(0, 1 if starting else self.life_s))

    def _stop_servers(self, rig: Rig) -> None:
        drawn = random.Random(f"{self.seed}/stops")
        servers = [rig.postgres, rig.redis] * self.stops
        drawn.shuffle(servers)
        for server in servers:
            time.sleep(drawn.uniform(0.3, 1.7) * self.pause_s)
            drawn.choice((server.kill, server.stop))()
            time.sleep(drawn.uniform(1, self.away_s))
            server.start()


@contextmanager
def chaos_rig(
    market: Market,
    folder: Path,
    truth: bool = True,
    variables: Mapping[str, str] = NO_VARIABLES,
    launch: Callable[[Mapping[str, str], Path], LiveDaemon] | None = None,
) -> Iterator[Rig]:
    """Start everything; at the end stop what still runs. truth: load what will be emitted, for `settled`;
    variables: more settings of the daemon; launch: starts it, with its settings and the folder of its logs"""
    with ExitStack() as stack:
        database = stack.enter_context(own_postgres())
        redis = stack.enter_context(own_redis())
        migrate(database.url)
        (folder / "config" / "bots").mkdir(parents=True)
        engine = engine_of(database.url)
        stack.callback(engine.dispose)
        emitted = Emitted(engine, market.seed, market.activity, SYMBOLS, market.start_ms, market.end_ms)
        trades = emitted.load() if truth else 0
        port = free_port()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TCP_")},
            "TCP_HOME": str(folder / "home"),
            "TCP_DATABASE_URL": database.url,
            "TCP_REDIS_URL": redis.url,
            "TCP_OKX_REST_URL": f"http://127.0.0.1:{port}",
            "TCP_OKX_WS_URL": f"ws://127.0.0.1:{port}/ws/v5",
            "TCP_SYMBOLS": ",".join(SYMBOLS),
            "TCP_HISTORY_DAYS": "1",
            "TCP_REFILL_IDS": "1000000",
            "TCP_CONFIG_DIR": str(folder / "config"),
            **variables,
        }
        daemon = launch(environment, folder) if launch else Daemon(environment, folder / "live.log")
        stack.callback(daemon.stop)
        # The market moves minutes a second: the daemon is there before it begins.
        process.wait_until(lambda: daemon.says("feed_connecting"), START_S, "the daemon")
        stack.enter_context(_exchange(market, port, folder))
        yield Rig(market, daemon, database, redis, engine, emitted, trades, time.monotonic(), environment)


@contextmanager
def _exchange(market: Market, port: int, folder: Path) -> Iterator[None]:
    with (folder / "sim.log").open("ab") as log:
        running = subprocess.Popen(
            market.command(port), cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    assert running.stdout is not None
    with running.stdout:
        try:
            assert running.stdout.readline(), (folder / "sim.log").read_text()
            yield
        finally:
            process.stop(running, signal.SIGTERM, STOP_S)


def _tcp(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "cli.main", *arguments]
