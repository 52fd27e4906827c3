"""The folder of a database's base backups and WAL: where it lies, who may write it, how it is filled."""

import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cli.stack.accounts import Account, own
from core.errors import BadInput, Unavailable

SEGMENT_S = 60
"""A segment that is not full is archived after a minute: at most so much goes with the disk of the data."""
PACKED = ".gz"
RECOVERED = ".recovered"
_READ_ONLY = (
    "is on a disk that is read-only for this process: units write below /var/lib/tcp and /srv/tcp alone, so "
    "mount it there (docs/deploy.md, Another disk)"
)


def archive_options(archive: Path) -> Mapping[str, str]:
    """Server options that archive each finished segment of WAL, packed: one a minute, each of 16 MB however
    little was written, would be 23 GB a day.

    PostgreSQL may ask twice for a segment, after a crash between copy and note: the same content is fine,
    another one is refused. A segment has its name only when it is whole and on the disk, and is taken as
    archived when its name is too.
    """
    target, part = (f"{in_command(archive / 'wal')}/{name}" for name in (f"%f{PACKED}", ".%f.part"))
    known = f'test -f {target}; then gzip -dc {target} | cmp -s - "%p"'
    synced = f"sync {in_command(archive / 'wal')}"
    copy = f'gzip -1nc "%p" > {part} && sync {part} && mv {part} {target}'
    return {
        "wal_level": "replica",
        "archive_mode": "on",
        "archive_timeout": str(SEGMENT_S),
        "archive_command": f"if {known}; else {copy}; fi && {synced}",
    }


def in_command(path: Path) -> str:
    """A path as a word of a command in PostgreSQL's settings, where % begins a placeholder."""
    return shlex.quote(str(path).replace("%", "%%"))


def make_archive(archive: Path, account: Account) -> None:
    """Make its folders for the server's account; BadInput when that account cannot write there."""
    try:
        if _is_read_only(archive):
            raise BadInput("TCP_WAL_ARCHIVE", f"{archive} {_READ_ONLY}")
        archive.parent.mkdir(parents=True, exist_ok=True)
        for folder in (archive, archive / "base", archive / "wal"):
            own(folder, account)
    except OSError as error:
        raise BadInput("TCP_WAL_ARCHIVE", f"{archive} cannot be used: {error.strerror}") from None
    other = account.name is not None
    tried = subprocess.run(
        ["test", "-w", str(archive / "wal")],  # noqa: S607 - where it lies differs from system to system
        cwd="/",
        check=False,
        user=account.uid if other else None,
        group=account.gid if other else None,
        extra_groups=[] if other else None,
    )
    if tried.returncode != 0:
        name = account.name or os.environ.get("USER", "this user")
        raise BadInput(
            "TCP_WAL_ARCHIVE",
            f"{archive} cannot be written by {name}, who runs PostgreSQL: choose a folder that it can reach",
        )


def _is_read_only(path: Path) -> bool:
    """Whether the disk is, as this process sees it: a unit's disks are but for its own folders."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    return bool(os.statvfs(there).f_flag & os.ST_RDONLY)


def system_identifier(program: Path, data: Path) -> str:
    """The number that a database and its copies share, and no other has. BadInput where there is none yet."""
    if not (data / "PG_VERSION").exists():
        raise BadInput("TCP_HOME", "has no embedded database yet: start the stack once")
    said = subprocess.run(
        [program, "-D", data], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    for line in said.stdout.splitlines():
        if line.startswith("Database system identifier:"):
            return line.split()[-1]
    raise Unavailable(f"pg_controldata cannot read {data}: {said.stderr.strip()}")


def recovered_data(data: Path) -> Path:
    """Where a recovered database waits, complete, to take the place of `data`."""
    return data.with_name(data.name + RECOVERED)


def finish_recovery(data: Path) -> None:
    """Complete an exchange of folders that was killed between its two renames."""
    if not data.exists() and recovered_data(data).exists():
        recovered_data(data).rename(data)
