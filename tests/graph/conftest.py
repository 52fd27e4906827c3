"""The stack the launch tests share: its own databases, lake, config and exchange."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from cli.stack.ports import free_port
from config.settings import PROJECT_ROOT
from orchestration.dbt_command import ensure_manifest
from tests.e2e.conftest import browser, page
from tests.graph.dagster_stack import DagsterStack

__all__ = ["browser", "page"]


@pytest.fixture(scope="session")
def parsed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TCP_HOME whose dbt project is parsed: 5 s of CPU that the tests pay once."""
    home = tmp_path_factory.mktemp("parsed-home")
    ensure_manifest(home)
    return home


@pytest.fixture
def dbt_home(parsed_home: Path, tmp_path: Path) -> Path:
    """A home of its own, with the parse that is there already."""
    shutil.copytree(parsed_home / "dbt", tmp_path / "dbt")
    return tmp_path


@pytest.fixture(scope="module")
def dagster_stack(
    postgres_url: str, template_database: str, parsed_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DagsterStack]:
    """Code server, webserver and daemon on Postgres storage, with the simulated exchange beside them."""
    name = f"tcp_test_graph_{free_port()}"
    home = tmp_path_factory.mktemp("dagster-stack")
    (home / "config" / "sweeps").mkdir(parents=True)
    shutil.copytree(parsed_home / "dbt", home / "dbt")  # keeps the manifest's time, so it counts as fresh
    server = make_url(postgres_url)
    libpq = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(libpq, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template_database}"'.encode())
        connection.execute(f'CREATE DATABASE "{name}_dagster"'.encode())
    exchange = subprocess.Popen(
        (sys.executable, "-m", "pipelines.exchanges.sim", "--rate-limit", "0"),
        cwd=PROJECT_ROOT,
        stdout=subprocess.PIPE,
    )
    assert exchange.stdout is not None
    urls = json.loads(exchange.stdout.readline())
    database_url = server.set(database=name).render_as_string(hide_password=False)
    stack = DagsterStack(home, database_url, free_port(), free_port(), urls)
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
        exchange.terminate()
        exchange.wait(10)
        exchange.stdout.close()
        with psycopg.connect(libpq, autocommit=True) as connection:
            for database in (name, f"{name}_dagster"):
                connection.execute(f'DROP DATABASE "{database}" WITH (FORCE)'.encode())
