"""From the settings as given to a plan: which servers are ours, every address, what children inherit."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from cli.stack.home import Home
from cli.stack.ports import LOOPBACK, remembered_port
from cli.stack.postgres import PostgresServer
from cli.stack.redis import RedisServer
from cli.stack.services import (
    Service,
    dagster_services,
    dashboard_service,
    live_service,
    notify_service,
    sim_service,
)
from config.settings import Settings
from core.errors import BadInput
from pipelines.exchanges.okx.hosts import REST_URLS, WS_URLS

OKX_REST, OKX_WS = ",".join(REST_URLS), ",".join(WS_URLS)
DAGSTER_DATABASE = "dagster"


@dataclass(frozen=True)
class Plan:
    """Everything about a stack before any process runs."""

    home: Home
    given: Settings
    resolved: Settings
    postgres: PostgresServer
    redis: RedisServer
    code_port: int
    speed: str

    @property
    def embedded(self) -> tuple[str, ...]:
        """The servers of SERVERS that are ours to run; the others were given by URL."""
        given = self.given
        ours = {
            "postgres": given.database_url is None,
            "redis": given.redis_url is None,
            "sim": given.exchange == "sim" and given.okx_rest_url is None,
        }
        return tuple(name for name, is_ours in ours.items() if is_ours)

    @property
    def sim_port(self) -> int:
        """Port of the simulated exchange."""
        return remembered_port(self.home.path, "sim")

    def services(self) -> list[Service]:
        """Every service; which of them are started is the caller's choice."""
        return [
            self._postgres_service(),
            Service("redis", tuple(self.redis.command()), folder=self.home.path, start_seconds=1),
            sim_service(self.sim_port, self.speed, self.home.sim_state),
            live_service(),
            dashboard_service(),
            notify_service(),
            *dagster_services(self.resolved.dagster_port, self.code_port, self.resolved.dagster_host),
        ]

    def environment(self) -> dict[str, str]:
        """What every child inherits: our environment, every setting resolved, Dagster's needs."""
        return {
            **os.environ,
            **variables(self.resolved),
            "DAGSTER_HOME": str(self.home.dagster),
            "TCP_DAGSTER_DATABASE_URL": dagster_url(self.resolved.database_url or ""),
            "TCP_DAGSTER_CODE_PORT": str(self.code_port),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
            "PYTHONUNBUFFERED": "1",
        }

    def _postgres_service(self) -> Service:
        account = self.postgres.account.name
        return Service(
            "postgres",
            tuple(self.postgres.command()),
            folder=self.postgres.folder,
            user=account,
            start_seconds=1,
            stop_signal="INT",  # fast shutdown; TERM would wait for every session
            stop_seconds=30,
        )


def dagster_url(database_url: str) -> str:
    """Dagster's database on the server of a URL, whose query (`host` of a socket, `sslmode` …) is kept.

    Dagster speaks through psycopg 2; SQLAlchemy 2.1 takes psycopg 3 for a bare postgresql://.
    """
    url = make_url(database_url).set(drivername="postgresql+psycopg2", database=DAGSTER_DATABASE)
    return url.render_as_string(hide_password=False)


def make_plan(given: Settings, speed: str = "1") -> Plan:
    """Decide every address. Ports of our own servers are remembered in the home."""
    home = Home(given.home)
    home.make()
    postgres = PostgresServer(home.path, archive=given.wal_archive)
    redis = RedisServer(home.path)
    rest, ws = exchange_urls(given, home)
    resolved = given.model_copy(
        update={
            "home": home.path,
            "database_url": given.database_url or postgres.url(),
            "redis_url": given.redis_url or redis.url(),
            "okx_rest_url": rest,
            "okx_ws_url": ws,
            "lake_url": absolute(given.lake_url),
            "config_dir": given.config_dir.expanduser().resolve(),
        }
    )
    return Plan(home, given, resolved, postgres, redis, remembered_port(home.path, "dagster-code"), speed)


def exchange_urls(given: Settings, home: Home) -> tuple[str | None, str | None]:
    """REST and WebSocket base URL: as given, else OKX's, else those of our simulated exchange. ccxt knows its
    exchanges' own."""
    rest, ws = given.okx_rest_url, given.okx_ws_url
    if given.exchange == "okx":
        return rest or OKX_REST, ws or OKX_WS
    if given.ccxt_id is not None or (rest is not None and ws is not None):
        return rest, ws
    if rest is None and ws is None:
        address = f"{LOOPBACK}:{remembered_port(home.path, 'sim')}"
        return f"http://{address}", f"ws://{address}/ws/v5"
    missing = "TCP_OKX_WS_URL" if ws is None else "TCP_OKX_REST_URL"
    raise BadInput(missing, "set both URLs of the simulated exchange, or neither to have one started")


def absolute(lake_url: str) -> str:
    """A lake path made independent of the working folder; an object-store URL as it is."""
    return lake_url if "://" in lake_url else str(Path(lake_url).expanduser().resolve())


def variables(settings: Settings) -> Mapping[str, str]:
    """The settings as environment variables."""
    values = settings.model_dump()
    return {f"TCP_{name.upper()}": str(value) for name, value in values.items() if value is not None}
