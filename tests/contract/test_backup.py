"""Backups that were tried, and a database taken back to a second before a mistake."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from cli.stack import postgres, process
from cli.stack.archive import base_backup, bases, prune
from cli.stack.archive_folder import recovered_data
from cli.stack.backup import back_up, check_restorable, dump
from cli.stack.base_check import check_base
from cli.stack.recovery import recover
from cli.stack.restore import load
from cli.stack.wal_check import check_wal
from config.settings import PROJECT_ROOT
from core.errors import BadInput, Unavailable
from pipelines.warehouse.backups import backup_age_s
from pipelines.warehouse.database import engine
from pipelines.warehouse.server import takes_writes
from pipelines.warehouse.wal_archive import Archive, archive_state
from tests.own_servers import OwnServer
from tests.stack import Tcp, eventually

pytestmark = pytest.mark.servers


def test_verified_backup_counts_every_row_of_its_moment(database_url, tmp_path):
    """The JSON names rows and tables; the scratch server leaves nothing; old backups go, others stay."""
    _execute(
        database_url, "INSERT INTO controls (name, value) SELECT n::text, 'true' FROM generate_series(1, 7) n"
    )
    home = tmp_path / "home"
    (home / "backups").mkdir(parents=True)
    for name in (
        "backup-20200101T000000Z.dump",
        "backup-20200102T000000Z.dump",
        "before-0001-to-0002-x.dump",
    ):
        (home / "backups" / name).write_text("old")
    tcp = Tcp(home, TCP_DATABASE_URL=database_url)
    result = tcp.run("db", "backup", "--verify", "--keep", "2", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["verified"] and document["tables"]["public.controls"] == 7
    assert document["rows"] == sum(document["tables"].values())
    assert Path(document["file"]).stat().st_mode & 0o077 == 0
    assert [Path(path).name for path in document["removed"]] == ["backup-20200101T000000Z.dump"]
    assert (home / "backups" / "before-0001-to-0002-x.dump").exists()
    assert not (home / "scratch").exists()
    assert (backup_age_s(engine(database_url)) or 3600) < 600
    assert "7" in tcp.run("db", "verify", document["file"], "--json").stdout
    assert tcp.living() == []


def test_backup_that_is_not_whole_is_told(database_url, tmp_path):
    """A row too many, or a file cut short, is an error that names the table or the tool."""
    file = tmp_path / "backup"
    dump(database_url, file)
    with pytest.raises(Unavailable, match=r"public\.bot_configs \(0 rows, not None\)"):
        check_restorable(file, tmp_path / "home", {"public.alembic_version": 1}, database_url)
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(Unavailable, match="pg_restore"):
        check_restorable(file, tmp_path / "home", url=database_url)
    with pytest.raises(BadInput, match="exists already"):
        back_up(database_url, file, tmp_path / "home", verify=True)


def test_backup_cut_short_changes_nothing(database_url, tmp_path):
    """All of it or nothing, whatever way the server's version and extensions ask for."""
    _execute(database_url, "INSERT INTO controls (name, value) VALUES ('before', 'true')")
    file = tmp_path / "backup"
    dump(database_url, file)
    _execute(database_url, "INSERT INTO controls (name, value) VALUES ('after', 'true')")
    whole = file.read_bytes()
    file.write_bytes(whole[:-2000])
    with pytest.raises(Unavailable, match="pg_restore"):
        load(database_url, file)
    assert _rows(database_url, "SELECT name FROM controls ORDER BY 1") == [("after",), ("before",)]
    file.write_bytes(whole)
    load(database_url, file)
    assert _rows(database_url, "SELECT name FROM controls ORDER BY 1") == [("before",)]


class Archived:
    """A server with an archive; started and stopped by the test."""

    def __init__(self, home: Path, archive: Path) -> None:
        self.home = home
        self.server = postgres.PostgresServer(home, postgres.TESTS, archive)
        self.server.prepare()
        self.url = self.server.url("postgres")
        self.running = OwnServer(self.url, self._launch, lambda: takes_writes(self.url))

    def _launch(self):
        return process.start(
            self.server.command(),
            self.home / "log",
            self.server.account,
            with_parent=True,
            folder=self.server.folder,
        )

    def numbers(self) -> list[int]:
        return [number for (number,) in _rows(self.url, "SELECT n FROM said ORDER BY n")]


@pytest.fixture
def archived(tmp_path_factory):
    """A running server whose WAL is archived where any account may enter, in a folder of an odd name."""
    name = f"it's 50% of {tmp_path_factory.mktemp('a').name}"
    below = (
        Path("/var/lib/tcp-dashboard") if postgres.server_account().name else tmp_path_factory.getbasetemp()
    )
    folder = below / name
    own = Archived(tmp_path_factory.mktemp("home"), folder)
    yield own
    own.running.stop()
    for path in {own.server.folder, folder}:
        shutil.rmtree(path, ignore_errors=True)


def test_database_goes_back_to_the_second_before_a_deletion(archived, tmp_path):
    """Rows from before and after the base backup are there, the deletion is not; twice, on two timelines;
    what was there stays aside, and WAL that no base needs any more goes. Segments are packed, and those that
    are not, as an earlier version left them, are read too."""
    _execute(archived.url, "CREATE TABLE said (n int)")
    _execute(archived.url, "INSERT INTO said VALUES (1)")
    first = base_backup(archived.server)
    for last, wrong in ((2, "DELETE FROM said"), (3, "DROP TABLE said")):
        _execute(archived.url, f"INSERT INTO said VALUES ({last})")
        before = _rows(archived.url, "SELECT clock_timestamp()")[0][0]
        _execute(archived.url, wrong)
        archived.running.stop()
        if last == 3:
            subprocess.run(["gunzip", *archived.server.archive_in_use().glob("wal/*.gz")], check=True)
        aside = recover(archived.server, before.astimezone(UTC), tmp_path / "log")
        assert (aside / "PG_VERSION").exists()
        archived.running.start()
        assert archived.numbers() == list(range(1, last + 1))
        base_backup(archived.server)
        assert check_wal(archived.server) > 0
    wal = archived.server.archive_in_use() / "wal"
    _execute(archived.url, "INSERT INTO said VALUES (9)")
    finished = _rows(archived.url, "SELECT pg_walfile_name(pg_switch_wal())")[0][0]
    packed = wal / f"{finished}.gz"
    eventually(packed.exists, 20, "the WAL in the archive")
    assert packed.stat().st_size < 2_000_000
    assert _rows(archived.url, "SELECT failed_count FROM pg_stat_archiver") == [(0,)]
    segments = len(list(wal.iterdir()))
    assert prune(archived.server, 1)[0] == first
    assert len(bases(archived.server)) == 1
    assert len(list(wal.iterdir())) < segments


def test_archive_that_takes_nothing_is_seen_and_so_is_its_return(archived):
    """Its folder is gone, as a disk that is no longer mounted: the segment is named, and what helps."""
    looking = engine(archived.url)
    wal = archived.server.archive_in_use() / "wal"
    _execute(archived.url, "CREATE TABLE said (n int)")
    assert archive_state(looking) == Archive(False, 0, 0, None)
    away = wal.rename(wal.with_name("away"))
    failed = _rows(archived.url, "SELECT pg_walfile_name(pg_switch_wal())")[0][0]
    eventually(lambda: archive_state(looking).trouble, 20, "the failure")
    state = archive_state(looking)
    assert state.failed == failed and f"cannot archive {failed}" in state.trouble
    assert "TCP_WAL_ARCHIVE" in state.trouble
    away.rename(wal)
    _execute(archived.url, "INSERT INTO said VALUES (1)")
    _execute(archived.url, "SELECT pg_switch_wal()")
    eventually(lambda: archive_state(looking).trouble is None, 70, "the archive's return")
    for n in range(3):
        _execute(archived.url, f"INSERT INTO said VALUES ({n})")
        _execute(archived.url, "SELECT pg_switch_wal()")
    eventually(lambda: archive_state(looking).waiting == 0, 20, "every segment in the archive")
    looking.dispose()


def test_times_that_cannot_be_had_are_refused_and_change_nothing(archived, tmp_path):
    """Before the oldest base backup, in the future, after the WAL, without any: one error each."""
    now = datetime.now(UTC)
    log = tmp_path / "log"
    with pytest.raises(BadInput, match="has no base backup"):
        recover(archived.server, now, log)
    base_backup(archived.server)
    with pytest.raises(BadInput, match="the oldest base backup is of"):
        recover(archived.server, now, log)
    with pytest.raises(BadInput, match="in the future"):
        recover(archived.server, now + timedelta(days=365), log)
    archived.running.stop()
    ((finished, _),) = bases(archived.server)
    with pytest.raises(BadInput, match="the WAL ends before"):
        recover(archived.server, max(finished, datetime.now(UTC)), log)
    assert not recovered_data(archived.server.data).exists()
    archived.running.start()


def test_wal_that_is_torn_or_missing_is_named_before_and_when_it_is_needed(archived, tmp_path):
    """By the check that follows a base backup, and by the recovery, which PostgreSQL ends there as if no
    more WAL were there."""
    wal, log = archived.server.archive_in_use() / "wal", tmp_path / "log"
    base_backup(archived.server)
    _execute(archived.url, "CREATE TABLE said (n int)")
    names = []
    for n in range(4):
        _execute(archived.url, f"INSERT INTO said VALUES ({n})")
        names.append(_rows(archived.url, "SELECT pg_walfile_name(pg_switch_wal())")[0][0])
    packed = wal / f"{names[1]}.gz"
    eventually((wal / f"{names[-1]}.gz").exists, 20, "the WAL in the archive")
    moment = datetime.now(UTC)
    assert check_wal(archived.server) >= len(names)
    archived.running.stop()
    (archived.server.data / "pg_wal" / names[1]).unlink(missing_ok=True)
    torn = bytearray(packed.read_bytes())
    torn[-8] ^= 1  # of the sum: in the middle, a bit of a run of zeros may say the same
    packed.write_bytes(torn)
    with pytest.raises(BadInput, match=f"{names[1]}.gz is torn"):
        check_wal(archived.server)
    with pytest.raises(Unavailable, match=f"cannot be unpacked: gzip: .*{names[1]}"):
        recover(archived.server, moment, log)
    packed.unlink()
    with pytest.raises(BadInput, match=f"{names[1]} is missing"):
        check_wal(archived.server)
    with pytest.raises(BadInput, match=f"{names[1]} of the WAL is missing"):
        recover(archived.server, moment, log)


def test_base_backup_that_is_not_whole_is_told(archived):
    """A file changed, missing, or too many, or a manifest cut short."""
    base = base_backup(archived.server)
    assert check_base(base) > 1_000_000
    version, foreign, manifest = base / "PG_VERSION", base / "base" / "foreign", base / "backup_manifest"
    whole = version.read_text()
    version.write_text("17\n")
    with pytest.raises(Unavailable, match="PG_VERSION of the base backup is not"):
        check_base(base)
    version.unlink()
    with pytest.raises(Unavailable, match="PG_VERSION of the base backup: No such"):
        check_base(base)
    version.write_text(whole)
    foreign.touch()
    with pytest.raises(Unavailable, match="foreign is not of"):
        check_base(base)
    foreign.unlink()
    manifest.write_text(manifest.read_text().replace('"Size": 3,', '"Size": 4,'))
    with pytest.raises(Unavailable, match="is torn"):
        check_base(base)


def test_exchange_that_was_killed_is_completed_by_the_next_start(archived):
    """Between the two renames there is no data folder: the recovered one takes its place."""
    _execute(archived.url, "CREATE TABLE said (n int)")
    archived.running.stop()
    data = archived.server.data
    data.rename(recovered_data(data))
    archived.server.prepare()
    archived.running.start()
    assert archived.numbers() == []


def test_archive_that_cannot_be_written_is_named(tmp_path):
    """The variable, the folder and the account; nothing starts."""
    (tmp_path / "file").write_text("")
    tcp = Tcp(tmp_path / "home", TCP_WAL_ARCHIVE=str(tmp_path / "file"))
    result = tcp.run("db", "url")
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("tcp: TCP_WAL_ARCHIVE: ")
    assert tcp.living() == []
    assert "TCP_WAL_ARCHIVE: is not set" in Tcp(tmp_path / "home").run("db", "base-backup").stderr
    tcp.run("down")
    link = tmp_path / "home" / "postgres"
    if link.is_symlink():
        shutil.rmtree(link.readlink(), ignore_errors=True)


READ_ONLY = """
import sys
from pathlib import Path
from cli.stack.accounts import server_account
from cli.stack.archive_folder import make_archive
make_archive(Path(sys.argv[1]), server_account())
"""


@pytest.mark.parametrize("there", [False, True])
def test_archive_on_a_disk_that_units_may_not_write_says_where_they_may(tmp_path, there):
    """Read-only for the process alone, as systemd makes it: whether its folders are there or not."""
    disk = tmp_path / "disk"
    for name in ("base", "wal") if there else ():
        (disk / "1" / name).mkdir(parents=True)
    disk.mkdir(exist_ok=True)
    enter = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    bind = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'
    if subprocess.run([*enter, bind, disk], capture_output=True).returncode != 0:
        pytest.skip("needs a mount namespace of its own")
    asked = [*enter, f'{bind} && exec "$@"', disk, sys.executable, "-c", READ_ONLY, disk / "1"]
    said = subprocess.run(asked, capture_output=True, text=True, cwd=PROJECT_ROOT).stderr
    assert "TCP_WAL_ARCHIVE" in said and "units write below /var/lib/tcp and /srv/tcp alone" in said


def _rows(url: str, query: str) -> list[tuple]:
    with psycopg.connect(_libpq(url)) as connection:
        return connection.execute(query.encode()).fetchall()


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(_libpq(url)) as connection:
        connection.execute(statement.encode())


def _libpq(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
