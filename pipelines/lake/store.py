"""Where the lake's files are. A local folder today; an object store needs the same four calls."""

import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from core.errors import BadInput, Unavailable

TEMPORARY = ".partial"


class StoredFile(msgspec.Struct, frozen=True):
    """A file as written. path: relative to the lake's root."""

    path: str
    bytes: int
    sha256: str


class LakeStore(Protocol):
    """Files by relative path. What is there is whole: a crash leaves at most a file named *.partial."""

    def write(self, name: Callable[[str], str], content: Callable[[Path], None]) -> StoredFile:
        """Store what `content` writes to the local path it is handed, as `name(sha256)`."""
        ...

    def local(self, path: str) -> Path:
        """A local path to read that file from."""
        ...

    def remove(self, path: str) -> None:
        """Delete the file; nothing happens when there is none."""
        ...

    def paths(self) -> list[str]:
        """Every data file, sorted; unfinished ones are not listed."""
        ...

    def paths_before(self, time_ms: int) -> list[str]:
        """Every file, unfinished ones too, that was last written before that time (ms since the epoch)."""
        ...


class LocalStore:
    """A folder. A file is written under a temporary name, synced, renamed, and its folder synced."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, name: Callable[[str], str], content: Callable[[Path], None]) -> StoredFile:
        """See LakeStore."""
        try:
            return self._write(name, content)
        except OSError as error:
            raise Unavailable(f"{self._root}: {error.strerror or error}") from None

    def local(self, path: str) -> Path:
        """See LakeStore."""
        return self._root / path

    def remove(self, path: str) -> None:
        """See LakeStore."""
        self.local(path).unlink(missing_ok=True)

    def paths(self) -> list[str]:
        """See LakeStore."""
        return sorted(str(file.relative_to(self._root)) for file in self._root.rglob("*.parquet"))

    def paths_before(self, time_ms: int) -> list[str]:
        """See LakeStore."""
        files = [*self._root.rglob("*.parquet"), *self._root.glob(f"*{TEMPORARY}")]
        old = [file for file in files if file.stat().st_mtime_ns < time_ms * 1_000_000]
        return sorted(str(file.relative_to(self._root)) for file in old)

    def _write(self, name: Callable[[str], str], content: Callable[[Path], None]) -> StoredFile:
        self._root.mkdir(parents=True, exist_ok=True)
        temporary = self._root / f"{uuid.uuid4().hex}{TEMPORARY}"
        try:
            content(temporary)
            digest = sha256_of(temporary)
            size = temporary.stat().st_size
            path = name(digest)
            target = self._root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _sync(temporary)
            temporary.rename(target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(target.parent)
        return StoredFile(path, size, digest)


def open_store(lake_url: str) -> LakeStore:
    """The store at a path or file:// URL; BadInput for a scheme that is not served."""
    scheme, separator, rest = lake_url.partition("://")
    if not separator:
        return LocalStore(Path(lake_url).expanduser())
    if scheme == "file":
        return LocalStore(Path(rest))
    raise BadInput("TCP_LAKE_URL", f"{scheme}:// is not supported: give a folder or a file:// URL")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
