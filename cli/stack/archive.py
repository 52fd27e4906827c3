"""Base backups of the embedded server, and the WAL that goes with them."""

import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from cli.stack.archive_folder import PACKED
from cli.stack.base_check import CHECKSUMS, check_base
from cli.stack.postgres import USER, PostgresServer, run_as
from cli.stack.secret import secret
from core.errors import Unavailable

_NAME = "%Y%m%dT%H%M%S.%fZ"
_FIRST_SEGMENT = re.compile(r"^START WAL LOCATION: .* \(file ([0-9A-F]{24})\)$", re.MULTILINE)


def base_backup(server: PostgresServer) -> Path:
    """Copy the running server's files, whole and verified; the folder's name is the time it was finished.

    Every second from then on can be recovered. Unavailable when the server does not answer or the copy is not
    whole.
    """
    folder = server.archive_in_use() / "base"
    for left in folder.glob(".*.part"):  # of a copy that was killed
        shutil.rmtree(left)
    part = folder / f".{os.getpid()}.part"
    address = f"host=127.0.0.1 port={server.port} user={USER} dbname=postgres connect_timeout=5"
    environment = {**os.environ, "PGPASSWORD": secret(server.home, "postgres")}
    command = [str(server.program("pg_basebackup")), "-d", address, "-D", str(part), "-X", "stream"]
    command += ["--checkpoint=fast", "--no-password", f"--manifest-checksums={CHECKSUMS}"]
    try:
        done = run_as(server.account, command, cwd=folder, environment=environment)
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise Unavailable(f"pg_basebackup: {lines[-1]}")
        check_base(part)
    except Unavailable:
        shutil.rmtree(part, ignore_errors=True)
        raise
    finished = folder / datetime.now(UTC).strftime(_NAME)
    part.rename(finished)
    return finished


def bases(server: PostgresServer) -> list[tuple[datetime, Path]]:
    """Every complete base backup with the time it was finished, oldest first."""
    folder = server.archive_in_use() / "base"
    paths = [path for path in folder.glob("*Z") if not path.name.startswith(".")]
    return sorted((datetime.strptime(path.name, _NAME).replace(tzinfo=UTC), path) for path in paths)


def first_segment(base: Path) -> str:
    """Name of the segment of WAL at which the recovery from this base backup begins."""
    found = _FIRST_SEGMENT.search((base / "backup_label").read_text(encoding="utf-8"))
    if found is None:
        raise Unavailable(f"{base / 'backup_label'} names no segment of WAL")
    return found.group(1)


def prune(server: PostgresServer, keep: int) -> list[Path]:
    """Remove all but the newest `keep` base backups, and the WAL from before them; the bases that went."""
    known = bases(server)
    gone = [path for _, path in known[:-keep]]
    for path in gone:
        shutil.rmtree(path)
    if gone:
        wal = server.archive_in_use() / "wal"
        cleanup = str(server.program("pg_archivecleanup"))
        command = [cleanup, "-x", PACKED, str(wal), first_segment(known[-keep][1])]
        done = run_as(server.account, command, cwd=wal)
        if done.returncode != 0:
            raise Unavailable(f"pg_archivecleanup: {done.stderr.strip()}")
    return gone
