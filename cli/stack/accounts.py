"""Who runs PostgreSQL and where its files lie.

PostgreSQL refuses to run as root. As root its data and, if need be, a copy of its programs go to a folder of
our own below /var/lib, owned by an unprivileged account; no permission of a folder that is not ours changes.
As any other user everything lies in TCP_HOME and in the virtual environment.
"""

import os
import pwd
import secrets
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadInput

SYSTEM_FOLDER = Path("/var/lib/tcp-dashboard")
UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class Account:
    """The account a server runs under; `name` None is the one we are."""

    name: str | None
    uid: int
    gid: int


def server_account() -> Account:
    """`nobody` when we are root, else ourselves."""
    if os.geteuid() != 0:
        return Account(None, os.geteuid(), os.getegid())
    entry = pwd.getpwnam(UNPRIVILEGED)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def data_folder(home: Path, account: Account) -> Path:
    """Where the database of this home lies: inside it; when we are root, where its link `postgres` points.

    The link has a random target, so that a home that was deleted and made again starts empty, and one that
    was moved keeps its data.
    """
    inside = home / "postgres"
    if account.name is None:
        return inside
    if inside.is_dir() and not inside.is_symlink():
        raise BadInput(
            "TCP_HOME", f"{home} was made by another user: run as that user, or choose another folder"
        )
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        inside.symlink_to(SYSTEM_FOLDER / secrets.token_hex(8))
    return inside.readlink()


def own(folder: Path, account: Account) -> None:
    """Make a private folder of this account (ours: below SYSTEM_FOLDER or in TCP_HOME)."""
    if account.name is not None:
        own_system_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account.name is not None:
        os.chown(folder, account.uid, account.gid)


def reachable(path: Path) -> bool:
    """Whether any account may enter the folders above `path` and read and run it."""
    for folder in path.resolve().parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            return False
    mode = path.stat().st_mode
    return bool(mode & stat.S_IROTH and mode & stat.S_IXOTH)


def programs_for(install: Path, version: str, account: Account) -> Path:
    """The PostgreSQL installation this account can run: the wheel's own, else a copy made once.

    A checkout below /root, which is 0700, is the usual reason for the copy (40 MB). The wheel's libraries lie
    in `<package>.libs` beside the package and are found relative to bin/, so both go along.
    """
    if account.name is None or reachable(install / "bin" / "postgres"):
        return install
    package = install.parent
    target = SYSTEM_FOLDER / f"pgsql-{version}"
    if not target.exists():
        own_system_folder()
        temporary = SYSTEM_FOLDER / f".pgsql-{version}.{os.getpid()}"
        shutil.copytree(install, temporary / package.name / install.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, temporary / libraries.name, symlinks=True)
        _open_to_all(temporary)
        try:
            temporary.rename(target)
        except OSError:  # another process was faster
            shutil.rmtree(temporary)
    return target / package.name / install.name


def own_system_folder() -> None:
    """Make our folder below /var/lib, open to enter whatever the umask is."""
    SYSTEM_FOLDER.mkdir(mode=0o755, parents=True, exist_ok=True)
    if SYSTEM_FOLDER.stat().st_mode & 0o777 != 0o755:
        SYSTEM_FOLDER.chmod(0o755)


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runs else 0o644)
