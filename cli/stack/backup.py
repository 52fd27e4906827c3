"""Backup and restore of the database with PostgreSQL's own tools."""

import hashlib
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy.engine import URL, make_url

from cli.stack.postgres import installation
from core.errors import BadInput, Unavailable

MAGIC = b"PGDMP"
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
        check_restorable(temporary, home, rows)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return Backup(file, file.stat().st_size, sha256_of(file), rows)


def check_restorable(file: Path, home: Path, expected: Mapping[str, int] | None = None) -> Mapping[str, int]:
    """Restore into a scratch server; the rows of each table there.

    Unavailable when that fails, or when they are not the expected ones.
    """
    from cli.stack.scratch import scratch_server
    from pipelines.warehouse.row_counts import moment

    with scratch_server(home) as url:
        load(url, file)
        with moment(url) as at:
            found = at.rows()
    if expected is not None and found != expected:
        names = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        wrong = ", ".join(f"{name} ({found.get(name)} rows, not {expected.get(name)})" for name in names[:5])
        raise Unavailable(f"{file} does not hold what the database does: {wrong}")
    return found


def dump(url: str, file: Path, snapshot: str | None = None) -> int:
    """Write a backup; it appears under its name only when it is complete. Returns its bytes.

    snapshot: of an open transaction, whose moment is written
    """
    check_target(file)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    options = [] if snapshot is None else [f"--snapshot={snapshot}"]
    try:
        temporary.touch(mode=0o600)
        _run("pg_dump", url, "--format=custom", "--no-owner", *options, f"--file={temporary}")
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return file.stat().st_size


def check_target(file: Path) -> None:
    """BadInput where no backup can be written."""
    if file.exists():
        raise BadInput(str(file), "exists already: choose another name")
    if not file.parent.is_dir():
        raise BadInput(str(file), f"the folder {file.parent} does not exist")


def sha256_of(file: Path) -> str:
    """Of its content, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_dump(file: Path) -> None:
    """BadInput when this is no backup."""
    try:
        with file.open("rb") as stream:
            start = stream.read(len(MAGIC))
    except OSError as error:
        raise BadInput(str(file), error.strerror or "cannot be read") from None
    if start != MAGIC:
        raise BadInput(str(file), "is not a backup made by `tcp db backup`")


def load(url: str, file: Path) -> None:
    """Replace the database's content in one transaction: all of it or nothing."""
    _run("pg_restore", url, "--clean", "--if-exists", "--no-owner", "--single-transaction", str(file))


def _run(program: str, url: str, *arguments: str) -> None:
    """Run a client tool; the password goes through the environment, not the command line."""
    parts = make_url(url)
    shown = URL.create(
        "postgresql", parts.username, None, parts.host, parts.port, parts.database, parts.query
    )
    command = [str(installation() / "bin" / program), f"--dbname={shown.render_as_string()}", *arguments]
    environment = {**os.environ, "PGPASSWORD": str(parts.password or ""), "PGCONNECT_TIMEOUT": "5"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise Unavailable(f"{program}: {lines[0]}")
