"""The embedded servers under their supervisor, driven through the command line."""

import os
import shutil
import signal
import socket

import psycopg
import pytest
from sqlalchemy.engine import make_url

from pipelines.warehouse.server import answers
from tests.stack import Tcp, eventually, home

pytestmark = pytest.mark.servers


@pytest.fixture
def tcp(tmp_path):
    """A home of its own, nothing running."""
    with home(tmp_path / "home") as driver:
        yield driver


def test_server_starts_on_demand_survives_a_crash_and_goes_with_down(tcp):
    """`tcp db url` starts PostgreSQL and leaves it; killed, it comes back; `tcp down` leaves no process."""
    url = tcp.run("db", "url").stdout.strip()
    with psycopg.connect(_libpq(url)) as connection:
        assert connection.execute("SELECT count(*) FROM bots").fetchone() == (0,)
    assert tcp.run("db", "url").stdout.strip() == url

    before = tcp.status()["postgres"]
    assert (before["state"], before["answers"]) == ("running", True)
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: tcp.status()["postgres"]["pid"] not in (None, before["pid"]), 30, "a new server")
    eventually(lambda: answers(url), 30, "PostgreSQL after a crash")

    result = tcp.run("down")
    assert (result.returncode, result.stdout) == (0, "stopped\n")
    assert tcp.living() == []
    assert tcp.run("down").stdout == "nothing was running\n"


def test_servers_of_a_killed_supervisor_are_found_and_ended(tcp):
    """A supervisor killed with -9 leaves its children; `tcp down` ends them all the same."""
    tcp.run("db", "url")
    os.kill(int((tcp.home / "supervisord.pid").read_text()), signal.SIGKILL)
    eventually(lambda: tcp.status()["postgres"]["state"] == "stopped", 10, "the supervisor's end")
    assert tcp.living() != []
    assert tcp.run("down").stdout == "stopped\n"
    assert tcp.living() == []


def test_home_made_again_starts_with_an_empty_database(tcp):
    """Deleting TCP_HOME is a fresh start, also where the data lies outside of it."""
    first = tcp.run("db", "url").stdout
    tcp.run("down")
    old = (tcp.home / "postgres").resolve()
    shutil.rmtree(tcp.home)
    second = tcp.run("db", "url")
    assert second.returncode == 0, second.stderr
    assert second.stdout != first
    shutil.rmtree(old, ignore_errors=True)


def test_backup_comes_back_whole(database_url, tmp_path):
    """A backup restores what was there and removes what came after."""
    tcp = Tcp(tmp_path / "home", TCP_DATABASE_URL=database_url)
    file = tmp_path / "backup"
    _execute(database_url, "INSERT INTO controls (name, value) VALUES ('before', 'true')")
    assert tcp.run("db", "backup", str(file)).returncode == 0
    assert tcp.run("db", "backup", str(file)).returncode == 2, "a backup is never overwritten"
    _execute(database_url, "DELETE FROM controls")
    _execute(database_url, "INSERT INTO controls (name, value) VALUES ('after', 'true')")
    result = tcp.run("db", "restore", str(file))
    assert result.returncode == 0, result.stderr
    with psycopg.connect(_libpq(database_url)) as connection:
        assert connection.execute("SELECT name FROM controls").fetchall() == [("before",)]


def test_no_backup_is_refused_before_anything_changes(database_url, tmp_path):
    """A file that is no backup, or none at all, is one line and exit code 2."""
    tcp = Tcp(tmp_path / "home", TCP_DATABASE_URL=database_url)
    (tmp_path / "text").write_text("hello")
    for name in ("text", "absent"):
        result = tcp.run("db", "restore", str(tmp_path / name))
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)
        assert name in result.stderr


@pytest.mark.parametrize(
    ("variable", "url", "command"),
    [
        ("TCP_DATABASE_URL", "postgresql+psycopg://u:hunter2@127.0.0.1:{port}/d", ("db", "migrate")),
        ("TCP_DATABASE_URL", "postgresql+psycopg://u:hunter2@127.0.0.1:{port}/d", ("up",)),
        ("TCP_REDIS_URL", "redis://:hunter2@127.0.0.1:{port}/0", ("up",)),
    ],
)
def test_server_that_does_not_answer_is_named(variable, url, command, tmp_path, unused_port):
    """One line names the variable and the remedy, without the password; exit code 2, nothing started."""
    taken = {"TCP_DASHBOARD_PORT": str(unused_port), "TCP_DAGSTER_PORT": str(unused_port)}
    tcp = Tcp(tmp_path / "home", **taken, **{variable: url.format(port=unused_port)})
    result = tcp.run(*command, timeout_s=30)
    assert result.returncode == 2
    assert result.stderr.startswith(f"tcp: {variable}: ")
    assert "unset" in result.stderr
    assert result.stderr.count("\n") == 1
    assert "hunter2" not in result.stderr
    assert tcp.living() == []


def test_port_in_use_is_named_before_anything_starts(tmp_path, unused_port):
    """`tcp up` on a taken dashboard port: one line with port and variable, exit code 2, no process."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        tcp = Tcp(tmp_path / "home", TCP_DASHBOARD_PORT=str(port), TCP_DAGSTER_PORT=str(unused_port))
        result = tcp.run("up", timeout_s=30)
    assert result.returncode == 2
    assert f"TCP_DASHBOARD_PORT: port {port} is in use by" in result.stderr
    assert result.stderr.count("\n") == 1
    assert tcp.living() == []


def test_data_folder_of_another_version_is_refused(tcp):
    """A database of another PostgreSQL is left alone: one line with the remedy, exit code 2."""
    tcp.run("db", "url")
    tcp.run("down")
    folder = (tcp.home / "postgres").resolve()
    marker = folder / "data/PG_VERSION" if (folder / "data").exists() else folder / "PG_VERSION"
    marker.write_text("15\n")
    result = tcp.run("db", "url")
    assert result.returncode == 2
    assert "PostgreSQL 15" in result.stderr
    assert result.stderr.count("\n") == 1
    assert tcp.living() == []


def _libpq(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(_libpq(url)) as connection:
        connection.execute(statement.encode())
