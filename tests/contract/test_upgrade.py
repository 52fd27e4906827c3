"""`tcp db migrate`: a backup first, and no database of a newer program."""

import asyncio

import psycopg
import pytest
from alembic import command
from sqlalchemy.engine import make_url

from cli.stack.restore import holds_hypertables
from pipelines.warehouse import database
from pipelines.warehouse.lock import DAEMON_LOCK, ORDERS_LOCK, DaemonLock
from tests.proxy import Proxy
from tests.stack import Tcp, eventually

pytestmark = pytest.mark.servers


@pytest.fixture
def older(database_url: str) -> str:
    """URL of a database at the schema before the newest."""
    with database._connected(database_url) as connection:
        config = database._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "-1")
        connection.commit()
    return database_url


def test_old_schema_with_data_is_backed_up_first(older, tmp_path):
    """The backup has the old schema and its rows, and can be restored."""
    before, newest = database.schema_versions(older)
    assert before != newest
    _execute(older, "INSERT INTO controls (name, value) VALUES ('kept', 'true')")
    tcp = Tcp(tmp_path / "home", TCP_DATABASE_URL=older)
    result = tcp.run("db", "migrate")
    assert result.returncode == 0, result.stderr
    assert database.schema_versions(older) == (newest, newest)
    (backup,) = (tmp_path / "home" / "backups").iterdir()
    assert backup.name.startswith(f"before-{before}-to-{newest}-")
    assert str(backup) in result.stderr
    assert backup.parent.stat().st_mode & 0o077 == 0

    _execute(older, "DELETE FROM controls")
    assert tcp.run("db", "restore", str(backup)).returncode == 0
    assert _names(older) == ["kept"]
    assert tcp.run("db", "migrate").returncode == 0
    assert database.schema_versions(older) == (newest, newest)


async def test_migration_waits_for_a_server_that_is_up_later(older, tmp_path):
    """As after a reboot; it says what it waits for, also when the server goes again in the middle. Without
    being told to wait it fails at once, and so it does where no waiting helps."""
    newest, log = database.schema_versions(older)[1], tmp_path / "log"
    absent = make_url(older).set(database="absent").render_as_string(hide_password=False)
    refused = Tcp(tmp_path / "home", TCP_DATABASE_URL=absent).run("db", "migrate", "--wait", timeout_s=60)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "does not exist" in refused.stderr
    async with Proxy(older) as proxy:
        await proxy.cut()
        tcp = Tcp(tmp_path / "home", TCP_DATABASE_URL=proxy.url)
        assert (await asyncio.to_thread(tcp.run, "db", "migrate")).returncode == 2
        waiting = tcp.start("db", "migrate", "--wait", output=log)
        try:
            await asyncio.to_thread(
                eventually, lambda: "waiting: PostgreSQL" in log.read_text(), 30, "a word"
            )
            with psycopg.connect(_libpq(older)) as other:
                other.execute("SELECT pg_advisory_xact_lock(%s)", (database.MIGRATION_LOCK,))
                await proxy.restore()
                await asyncio.to_thread(eventually, lambda: _waiting(older), 60, "the migration has begun")
                await proxy.cut()
                assert waiting.poll() is None
            await proxy.restore()
            assert await asyncio.to_thread(waiting.wait, 60) == 0, log.read_text()
        finally:
            waiting.kill()
    assert database.schema_versions(older) == (newest, newest)


def test_nothing_is_migrated_when_no_backup_can_be_made(older, tmp_path):
    """One line with the remedy, exit code 1, the old schema untouched; --no-backup does it all the same."""
    _execute(older, "INSERT INTO controls (name, value) VALUES ('kept', 'true')")
    home = tmp_path / "home"
    home.mkdir()
    (home / "backups").write_text("in the way")
    tcp = Tcp(home, TCP_DATABASE_URL=older)
    result = tcp.run("db", "migrate")
    assert result.returncode == 1
    assert "nothing was migrated" in result.stderr.splitlines()[-1]
    assert "--no-backup" in result.stderr
    before, newest = database.schema_versions(older)
    assert before != newest
    assert tcp.run("db", "migrate", "--no-backup").returncode == 0
    assert database.schema_versions(older) == (newest, newest)


def test_empty_database_needs_no_backup(older, tmp_path):
    """Without rows there is nothing to lose."""
    assert Tcp(tmp_path / "home", TCP_DATABASE_URL=older).run("db", "migrate").returncode == 0
    assert not (tmp_path / "home" / "backups").exists()


def test_newer_schema_is_refused(database_url, tmp_path):
    """One line names both ways out, exit code 2; nothing is written."""
    _execute(database_url, "UPDATE alembic_version SET version_num = '9999'")
    result = Tcp(tmp_path / "home", TCP_DATABASE_URL=database_url).run("db", "migrate")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "9999" in result.stderr and "update the program or use another database" in result.stderr
    assert not (tmp_path / "home" / "backups").exists()


def test_an_older_program_restores_its_own_backup_over_a_newer_schema(database_url, tmp_path):
    """The way back from an upgrade: what the newer program made is gone, none of it stops the older."""
    tcp = Tcp(tmp_path / "home", TCP_DATABASE_URL=database_url)
    _execute(database_url, "INSERT INTO controls (name, value) VALUES ('kept', 'true')")
    backup = tmp_path / "own.dump"
    assert tcp.run("db", "backup", str(backup)).returncode == 0
    _execute(database_url, "CREATE TABLE of_the_newer (id int)")
    _execute(database_url, "UPDATE alembic_version SET version_num = '9999'")
    result = tcp.run("db", "restore", str(backup))
    assert result.returncode == 0, result.stderr
    assert _names(database_url) == ["kept"]
    current, wanted = database.schema_versions(database_url)
    assert current == wanted


@pytest.mark.parametrize("key", [DAEMON_LOCK, ORDERS_LOCK])
def test_nothing_is_restored_under_a_running_daemon(database_url, tmp_path, key):
    """Nor under the process that sends orders, wherever it runs; the rows stay. Neither begins meanwhile."""
    tcp = Tcp(tmp_path / "home", TCP_DATABASE_URL=database_url)
    backup = tmp_path / "own.dump"
    assert tcp.run("db", "backup", str(backup)).returncode == 0
    _execute(database_url, "INSERT INTO controls (name, value) VALUES ('later', 'true')")
    lock = DaemonLock(database.engine(database_url), key)
    assert lock.hold()
    result = tcp.run("db", "restore", str(backup))
    lock.release()
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "works on this database: stop it first" in result.stderr
    assert _names(database_url) == ["later"]
    with psycopg.connect(_libpq(database_url)) as reader:
        reader.execute("LOCK controls IN ACCESS SHARE MODE")
        restoring = tcp.start("db", "restore", str(backup), output=tmp_path / "restore.log")
        if not holds_hypertables(backup):  # which are loaded beside it, and wait for nobody
            eventually(lambda: _waiting(database_url), 60, "the restore waits for a reader")
            assert not lock.hold()
    assert restoring.wait(60) == 0
    assert _names(database_url) == []
    assert lock.hold()
    lock.release()


def _waiting(url: str) -> int:
    """Sessions that wait for a lock."""
    with psycopg.connect(_libpq(url)) as connection:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        ((found,),) = connection.execute(waiting + " AND datname = current_database()")
    return found


def _names(url: str) -> list[str]:
    with psycopg.connect(_libpq(url)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM controls ORDER BY name")]


def _libpq(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(_libpq(url)) as connection:
        connection.execute(statement.encode())
