"""A whole stack of its own, with bots that trade often: for the end-to-end test and the soak."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import Any

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from cli.stack.ports import free_port, remembered_port
from cli.stack.postgres import PostgresServer
from config.settings import PROJECT_ROOT
from pipelines.warehouse.database import engine as engine_of
from tests.stack import Tcp, home

EAGER = {
    "ema_crossover": {"fast_period": 2, "slow_period": 4},
    "rsi_reversion": {"period": 3, "oversold": 45, "overbought": 55},
    "macd_trend": {"fast_period": 2, "slow_period": 4, "signal_period": 2},
}
"""Parameters that signal every few candles."""
BOTS = 5
STOP_S = 60


@dataclass
class LiveStack:
    """A running `tcp up` and its database."""

    tcp: Tcp
    process: "Popen[bytes]"
    log: Path
    dashboard: str
    config: Path
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = engine_of(PostgresServer(self.tcp.home).url())

    @property
    def exchange(self) -> str:
        """WebSocket base URL of the simulated exchange."""
        return f"ws://127.0.0.1:{remembered_port(self.tcp.home, 'sim')}/ws/v5"

    def scalar(self, query: str, **values: Any) -> Any:
        """The single value of a query."""
        with self.engine.connect() as connection:
            return connection.execute(text(query), values).scalar()

    def judging(self) -> int:
        """How many bots have stored a signal; fails when `tcp up` has ended."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return int(self.scalar("SELECT count(DISTINCT bot_id) FROM signals"))
        except DBAPIError:  # no server yet, or no table
            return 0

    def interrupt(self) -> int:
        """Ctrl-C; the exit code, when all of it has ended."""
        self.engine.dispose()
        self.process.send_signal(2)
        return self.process.wait(STOP_S)


@contextmanager
def live_stack(folder: Path, speed: str, **settings: str) -> Iterator[LiveStack]:
    """`tcp up` in its own home and on its own ports, stopped at the end whatever happened."""
    config = folder / "config"
    shutil.copytree(PROJECT_ROOT / "config", config)
    for file in sorted((config / "strategies").glob("*.json")):
        document = json.loads(file.read_text())
        document["parameters"].update(EAGER.get(file.stem, {}))
        file.write_text(json.dumps(document))
    dashboard, dagster = free_port(), free_port()
    variables = {
        "TCP_DASHBOARD_PORT": str(dashboard),
        "TCP_DAGSTER_PORT": str(dagster),
        "TCP_CONFIG_DIR": str(config),
        "TCP_LAKE_URL": str(folder / "lake"),
        **settings,
    }
    with home(folder / "home", **variables) as tcp:
        log = folder / "up.log"
        process = tcp.start("up", "--speed", speed, output=log)
        stack = LiveStack(tcp, process, log, f"http://127.0.0.1:{dashboard}", config)
        try:
            yield stack
        finally:
            stack.engine.dispose()
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_S)
                except TimeoutExpired:
                    process.kill()
                    process.wait()
