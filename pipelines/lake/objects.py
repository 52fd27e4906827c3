"""The lake in an object store: S3 and what speaks like it, Google Cloud Storage, Azure.

Credentials, region and endpoint are those of the store's own environment variables, such as
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL. An object appears whole or not at all,
so a crash leaves nothing behind.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.fsspec import FsspecStore
from obstore.store import ObjectStore as Backend
from obstore.store import from_url

from core.errors import BadInput, Unavailable
from pipelines.lake.store import QUARANTINE, StoredFile, quarantined, sha256_of

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

TIMEOUT = timedelta(seconds=60)
RETRIED_FOR = timedelta(seconds=20)
"""How long an object store may refuse before the work is given up; a repeat goes on where it was."""

_CLIENT: "ClientConfig" = {"allow_http": True, "timeout": TIMEOUT}
_RETRIES: "RetryConfig" = {
    "max_retries": 4,
    "retry_timeout": RETRIED_FOR,
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=3), "base": 2},
}

T = TypeVar("T")


class ObjectStore:
    """A bucket, or a prefix in one. See LakeStore."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.scheme = url.partition("://")[0]
        try:
            self.backend: Backend = from_url(self.url, client_options=_CLIENT, retry_config=_RETRIES)
        except (BaseError, ValueError) as error:
            raise BadInput("TCP_LAKE_URL", f"{url}: {_first_line(error)}") from None

    def filesystem(self) -> FsspecStore:
        """The same store for libraries that read URLs through fsspec, such as DuckDB."""
        scheme: Any = self.scheme
        return FsspecStore(scheme, client_options=_CLIENT, retry_config=_RETRIES)

    def write(self, name: Callable[[str], str], content: Callable[[Path], None]) -> StoredFile:
        """See LakeStore."""
        try:
            with tempfile.TemporaryDirectory(prefix="tcp-lake-") as folder:
                local = Path(folder) / "file"
                content(local)
                digest, size = sha256_of(local), local.stat().st_size
                path = name(digest)
                self._ask(lambda: obstore.put(self.backend, path, local))
        except OSError as error:
            raise Unavailable(f"{tempfile.gettempdir()}: {error.strerror or error}") from None
        return StoredFile(path, size, digest)

    @contextmanager
    def local(self, path: str) -> Iterator[Path]:
        """See LakeStore. Fetched anew at every call: what is read is what the store has."""
        with tempfile.TemporaryDirectory(prefix="tcp-lake-") as folder:
            target = Path(folder) / Path(path).name
            self._ask(lambda: self._fetch(path, target))
            yield target

    def remove(self, path: str) -> None:
        """See LakeStore."""
        self._ask(lambda: obstore.delete(self.backend, path))

    def set_aside(self, path: str) -> str | None:
        """See LakeStore."""
        kept = quarantined(path)
        return kept if self._ask(lambda: self._rename(path, kept)) else None

    def paths(self) -> list[str]:
        """See LakeStore."""
        return [path for path, _ in self._listed()]

    def paths_before(self, time_ms: int) -> list[str]:
        """See LakeStore."""
        return [path for path, written_ms in self._listed() if written_ms < time_ms]

    def _listed(self) -> list[tuple[str, float]]:
        rows = self._ask(lambda: [row for batch in obstore.list(self.backend) for row in batch])
        return sorted(
            (row["path"], row["last_modified"].timestamp() * 1000)
            for row in rows
            if row["path"].endswith(".parquet") and not row["path"].startswith(f"{QUARANTINE}/")
        )

    def _rename(self, path: str, target: str) -> bool:
        try:
            obstore.rename(self.backend, path, target)
        except FileNotFoundError:
            return False
        return True

    def _fetch(self, path: str, target: Path) -> None:
        try:
            answer = obstore.get(self.backend, path)
        except FileNotFoundError:
            return
        with target.open("wb") as file:
            for part in answer.stream():
                file.write(part)

    def _ask(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except (BaseError, FileNotFoundError) as error:
            raise Unavailable(f"{self.url}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    """What an object store's error says first; the rest repeats it as XML and nested structures."""
    return str(error).strip().splitlines()[0].partition(": <?xml")[0]
