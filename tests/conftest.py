"""Servers for the tests: a real PostgreSQL and a real Redis, embedded unless the environment names others."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis as redis_client
from hypothesis import HealthCheck, settings
from sqlalchemy.engine import make_url

from cli.stack import postgres, process, redis
from cli.stack.ports import free_port
from config.settings import PROJECT_ROOT
from pipelines.warehouse.database import SERVICE_ANSWER_S, engine, migrate

# A loaded machine is slow, not wrong: no example of a property has a deadline.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

RECORDINGS = PROJECT_ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def server_home() -> Iterator[Path]:
    """A folder for the servers of this test run, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="tcp-tests-"))
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(server_home: Path) -> Iterator[str]:
    """URL of the maintenance database of a server where the tests may create databases."""
    given = os.environ.get("TCP_DATABASE_URL")
    if given:
        yield given
        return
    server = postgres.PostgresServer(server_home, postgres.TESTS)
    server.prepare()
    running = process.start(
        server.command(), server_home / "postgres.log", server.account, with_parent=True, folder=server.folder
    )
    url = server.url("postgres")
    try:
        process.wait_until(lambda: _accepts(url), 30, f"PostgreSQL (log: {server_home / 'postgres.log'})")
        yield url
    finally:
        process.stop(running)
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> Iterator[str]:
    """Name of a migrated database that every test's own is copied from."""
    name = f"tcp_test_template_{uuid.uuid4().hex[:8]}"
    _administer(postgres_url, f'CREATE DATABASE "{name}"')
    migrate(_with_database(postgres_url, name))
    _close_connections(postgres_url, name)
    yield name
    _administer(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """URL of a fresh, migrated, empty database: `postgresql+psycopg://…`."""
    name = f"tcp_test_{uuid.uuid4().hex[:12]}"
    _administer(postgres_url, f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"')
    url = _with_database(postgres_url, name)
    yield url
    engine(url).dispose()
    engine(url, SERVICE_ANSWER_S).dispose()
    _administer(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def redis_server_url(server_home: Path) -> Iterator[str]:
    """URL of the Redis the tests may flush: the embedded one, else that of TCP_REDIS_URL. Channels know no
    databases: each parallel worker needs a server of its own, by its number out of TEST_REDIS_URLS."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    given = os.environ.get("TEST_REDIS_URLS", os.environ.get("TCP_REDIS_URL", "")).split()
    if given:
        if worker >= len(given):
            pytest.fail(f"{len(given)} addresses in TEST_REDIS_URLS are too few for worker {worker + 1}")
        yield given[worker]
        return
    server = redis.RedisServer(server_home, redis.TESTS)
    server.prepare()
    running = process.start(server.command(), server_home / "redis.log", with_parent=True)
    try:
        process.wait_until(lambda: _pongs(server.url()), 30, "Redis")
        yield server.url()
    finally:
        process.stop(running)


@pytest.fixture
def redis_url(redis_server_url: str) -> Iterator[str]:
    """URL of an empty Redis database."""
    with redis_client.Redis.from_url(redis_server_url) as client:
        client.flushdb()
    yield redis_server_url


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recordings beside the checkout; without it the test skips, and in CI it fails."""
    if not RECORDINGS.is_dir():
        reason = "the recordings (../shared/data) are not beside this checkout"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}, and CI must have them")
        pytest.skip(reason)
    return RECORDINGS


@pytest.fixture
def unused_port() -> int:
    """A loopback port nobody listens on."""
    return free_port()


def _with_database(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _libpq(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _administer(url: str, statement: str) -> None:
    with psycopg.connect(_libpq(url), autocommit=True) as connection:
        connection.execute(statement.encode())


def _close_connections(url: str, name: str) -> None:
    """A template may have no session: end those that a pool of the migration left open."""
    with psycopg.connect(_libpq(url), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )


def _accepts(url: str) -> bool:
    try:
        psycopg.connect(_libpq(url), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _pongs(url: str) -> bool:
    try:
        with redis_client.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except (redis_client.ConnectionError, redis_client.TimeoutError):
        return False


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test begins first, so that the others run beside it and not the one after all others."""
    items.sort(key=lambda item: item.get_closest_marker("first") is None)
