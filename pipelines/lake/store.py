"""Where the lake's files are: a local folder here, an object store in `objects`; both under one port."""

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from core.errors import BadInput, Unavailable

TEMPORARY = ".partial"
QUARANTINE = "quarantine"
"""Folder of files that are not what the manifest says: kept for people, read by nobody."""
SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss")


class StoredFile(msgspec.Struct, frozen=True):
    """A file as written. path: relative to the lake's root."""

    path: str
    bytes: int
    sha256: str


class LakeStore(Protocol):
    """Files by relative path. What is there is whole: a crash leaves at most a file named *.partial.

    A store that does not answer, or that takes no more, raises Unavailable.
    """

    def write(self, name: Callable[[str], str], content: Callable[[Path], None]) -> StoredFile:
        """Store what `content` writes to the local path it is handed, as `name(sha256)`."""
        ...

    def local(self, path: str) -> AbstractContextManager[Path]:
        """A local path to read that file from; no file is there when the store has none."""
        ...

    def remove(self, path: str) -> None:
        """Delete the file; nothing happens when there is none."""
        ...

    def set_aside(self, path: str) -> str | None:
        """Move a file to the quarantine; returns its new path, None when there was no such file."""
        ...

    def paths(self) -> list[str]:
        """Every data file, sorted; unfinished ones and those in quarantine are not listed."""
        ...

    def paths_before(self, time_ms: int) -> list[str]:
        """Every such file, unfinished ones too, that was last written before that time (ms since the
        epoch)."""
        ...


class LocalStore:
    """A folder. A file is written under a temporary name, synced, renamed, and its folders synced."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: Callable[[str], str], content: Callable[[Path], None]) -> StoredFile:
        """See LakeStore."""
        with disk_errors(self.root):
            return self._write(name, content)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """See LakeStore."""
        yield self.root / path

    def remove(self, path: str) -> None:
        """See LakeStore."""
        with disk_errors(self.root):
            (self.root / path).unlink(missing_ok=True)

    def set_aside(self, path: str) -> str | None:
        """See LakeStore."""
        kept = quarantined(path)
        target = self.root / kept
        with disk_errors(self.root):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                (self.root / path).rename(target)
            except FileNotFoundError:
                return None
        return kept

    def paths(self) -> list[str]:
        """See LakeStore."""
        return self._relative(self.root.rglob("*.parquet"))

    def paths_before(self, time_ms: int) -> list[str]:
        """See LakeStore."""
        files = [*self.root.rglob("*.parquet"), *self.root.glob(f"*{TEMPORARY}")]
        return self._relative(file for file in files if file.stat().st_mtime_ns < time_ms * 1_000_000)

    def _relative(self, files: Iterator[Path]) -> list[str]:
        paths = (str(file.relative_to(self.root)) for file in files)
        return sorted(path for path in paths if not path.startswith(f"{QUARANTINE}/"))

    def _write(self, name: Callable[[str], str], content: Callable[[Path], None]) -> StoredFile:
        self.root.mkdir(parents=True, exist_ok=True)
        temporary = self.root / f"{uuid.uuid4().hex}{TEMPORARY}"
        try:
            content(temporary)
            digest = sha256_of(temporary)
            size = temporary.stat().st_size
            path = name(digest)
            target = self.root / path
            new = [folder for folder in target.parents if not folder.exists()]
            target.parent.mkdir(parents=True, exist_ok=True)
            _sync(temporary)
            temporary.rename(target)
        finally:
            temporary.unlink(missing_ok=True)
        # A new folder is only there after a crash when the one it is in was synced, too.
        for folder in (target.parent, *(folder.parent for folder in new)):
            _sync(folder)
        return StoredFile(path, size, digest)


def open_store(lake_url: str) -> LakeStore:
    """The store at a path, file:// or object-store URL; BadInput for a scheme that is not served."""
    scheme, separator, rest = lake_url.partition("://")
    if not separator:
        return LocalStore(Path(lake_url).expanduser())
    if scheme == "file":
        return LocalStore(Path(rest))
    if scheme in SCHEMES:
        from pipelines.lake.objects import ObjectStore

        return ObjectStore(lake_url)
    raise BadInput(
        "TCP_LAKE_URL", f"{scheme}:// is not supported: give a folder, or a URL of {', '.join(SCHEMES)}"
    )


def quarantined(path: str) -> str:
    """Where a file goes that is set aside: no other one is ever there."""
    return f"{QUARANTINE}/{path}.{uuid.uuid4().hex[:8]}"


def has_hash(path: Path, sha256: str) -> bool:
    """Whether a file is there, can be read, and has that hash. One that the disk does not give back is as
    good as damaged."""
    try:
        return path.is_file() and sha256_of(path) == sha256
    except OSError:
        return False


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors(folder: Path | str) -> Iterator[None]:
    """What the disk refuses while something is done in a folder, as Unavailable."""
    try:
        yield
    except OSError as error:
        raise Unavailable(f"{folder}: {error.strerror or error}") from None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
