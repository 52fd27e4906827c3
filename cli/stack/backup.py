"""Backups of the database with PostgreSQL's own tools, and whether they are whole."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy.engine import make_url

from cli.stack import clients
from cli.stack.restore import holds_hypertables, load, loaded_beside
from core.errors import BadInput, Unavailable

PREFIX = "backup-"


class Backup(NamedTuple):
    """A backup that was written: its file, its bytes, and where it was tried, the rows of each table."""

    file: Path
    bytes: int
    sha256: str
    rows: Mapping[str, int] | None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        total = None if self.rows is None else sum(self.rows.values())
        return {
            "file": str(self.file),
            "bytes": self.bytes,
            "sha256": self.sha256,
            "verified": self.rows is not None,
            "rows": total,
            "tables": None if self.rows is None else dict(self.rows),
        }


def usual_name(home: Path) -> Path:
    """TCP_HOME/backups/backup-20261121T031500Z.dump, in a folder of its owner's; it is made here."""
    folder = home / "backups"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%SZ}.dump"


def prune(folder: Path, keep: int) -> list[Path]:
    """Remove all but the newest `keep` backups of the usual name; those before migrations stay. What went."""
    files = sorted(folder.glob(f"{PREFIX}*.dump"), reverse=True)
    for file in files[keep:]:
        file.unlink()
    return files[keep:]


def back_up(url: str, file: Path, home: Path, verify: bool) -> Backup:
    """Write a backup; with `verify` it is restored into a scratch server first, and has its name only when
    every table had the rows there that it has here."""
    from pipelines.warehouse.row_counts import moment

    if not verify:
        return Backup(file, dump(url, file), sha256_of(file), None)
    check_target(file)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.unverified")
    try:
        with moment(url) as at:
            dump(url, temporary, at.snapshot)
            rows = at.rows()
        check_restorable(temporary, home, rows, url)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return Backup(file, file.stat().st_size, sha256_of(file), rows)


def check_restorable(
    file: Path, home: Path, expected: Mapping[str, int] | None = None, url: str | None = None
) -> Mapping[str, int]:
    """Restore into a scratch server; the rows of each table there. Of a database with TimescaleDB, which that
    server has not, into a new database beside `url`.

    Unavailable when that fails, or when they are not the expected ones.
    """
    from pipelines.warehouse.row_counts import moment

    with _restored(file, home, url) as made, moment(made) as at:
        found = at.rows()
    if expected is not None and found != expected:
        names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        wrong = ", ".join(f"{name} ({found.get(name)} rows, not {expected.get(name)})" for name in names[:5])
        raise Unavailable(f"{file} does not hold what the database does: {wrong}")
    return found


@contextmanager
def _restored(file: Path, home: Path, url: str | None) -> Iterator[str]:
    """URL of a database that holds the backup and nothing else."""
    from cli.stack.scratch import scratch_server

    if not holds_hypertables(file):
        with scratch_server(home) as scratch:
            load(scratch, file)
            yield scratch
    elif url is None:
        raise BadInput("TCP_DATABASE_URL", f"is not set: {file} needs a server with TimescaleDB to be tried")
    else:
        with loaded_beside(url, file) as name:
            yield make_url(url).set(database=name).render_as_string(hide_password=False)


def dump(url: str, file: Path, snapshot: str | None = None) -> int:
    """Write a backup; it appears under its name only when it is complete. Returns its bytes.

    snapshot: of an open transaction, whose moment is written
    """
    check_target(file)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    options = [] if snapshot is None else [f"--snapshot={snapshot}"]
    try:
        temporary.touch(mode=0o600)
        clients.run("pg_dump", url, "--format=custom", "--no-owner", *options, f"--file={temporary}")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return file.stat().st_size


def check_target(file: Path) -> None:
    """BadInput where no backup can be written."""
    folder = file.parent.absolute()
    if not os.access(folder, os.F_OK) or not folder.is_dir():
        raise BadInput(str(file), f"the folder {folder} does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadInput(str(file), f"this account may not write into {folder}: choose a folder that it may")
    if file.exists():
        raise BadInput(str(file), "exists already: choose another name")


def sha256_of(file: Path) -> str:
    """Of its content, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
