"""Rows of a sweep as they come: in memory, or as files from which a killed sweep goes on."""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import polars as pl

from core.errors import BadInput, TcpError

HIDDEN = ("n", "point")
"""Columns that order the rows and are not part of the result."""
BEST = 10
"""Rows that a summary shows."""


class Results(Protocol):
    """Rows by chunk. Each chunk comes once, in any order."""

    def has(self, number: int) -> bool:
        """Whether a chunk is there already."""
        ...

    def get(self, number: int) -> pl.DataFrame:
        """The rows of such a chunk."""
        ...

    def put(self, number: int, table: pl.DataFrame) -> None:
        """Keep a chunk's rows."""
        ...

    def finish(self) -> "Finished":
        """All rows, best first."""
        ...


class Finished(Protocol):
    """All rows of a sweep, best first."""

    rows: int
    failed: int

    def head(self, count: int) -> pl.DataFrame:
        """The first of them."""
        ...

    def errors(self, count: int) -> pl.DataFrame:
        """Some of those that failed."""
        ...

    def batches(self) -> Iterator[pl.DataFrame]:
        """All of them, a piece at a time."""
        ...


class InMemory:
    """Keeps all rows, or those that are best and the number of the others; it is its own end result."""

    def __init__(self, sort: str, descending: bool, most: int | None = None) -> None:
        self._sort, self._descending, self._most = sort, descending, most
        self._tables: list[pl.DataFrame] = []
        self._failures: list[pl.DataFrame] = []
        self.rows = self.failed = 0

    def has(self, number: int) -> bool:
        """Nothing is there before it is put."""
        return False

    def get(self, number: int) -> pl.DataFrame:
        """Nothing to get: every chunk is walked."""
        raise KeyError(number)

    def put(self, number: int, table: pl.DataFrame) -> None:
        """Keep a chunk's rows, or the best of all so far."""
        failed = table.height - table["error"].null_count()
        self.rows, self.failed = self.rows + table.height, self.failed + failed
        if failed and len(self._failures) < BEST:
            self._failures.append(table.filter(pl.col("error").is_not_null()).head(BEST))
        self._tables.append(table)
        if self._most is not None:
            self._tables = [self._sorted().head(self._most)]

    def finish(self) -> "InMemory":
        """Itself, its rows in order."""
        self._tables = [self._sorted().drop(HIDDEN)] if self._tables else []
        return self

    def head(self, count: int) -> pl.DataFrame:
        """The first of the rows that were kept."""
        return self.table().head(count)

    def errors(self, count: int) -> pl.DataFrame:
        """Some of those that failed."""
        return pl.concat(self._failures).head(count) if self._failures else pl.DataFrame()

    def table(self) -> pl.DataFrame:
        """All rows that were kept."""
        return self._tables[0] if self._tables else pl.DataFrame()

    def batches(self) -> Iterator[pl.DataFrame]:
        """All of them at once."""
        yield self.table()

    def _sorted(self) -> pl.DataFrame:
        order = [self._sort, "n"]
        return pl.concat(self._tables).sort(order, descending=[self._descending, False], nulls_last=True)


class Parts:
    """A folder with a Parquet file for each chunk that is done, and a note of what is being done.

    Files come under a temporary name and are renamed: one that is there is whole, whenever the process died.
    """

    NOTE = "sweep.json"

    def __init__(self, folder: Path, target: Path, sort: str, descending: bool) -> None:
        self._folder, self._target = folder, target
        self._sort, self._descending = sort, descending

    def begin(self, note: dict[str, Any]) -> dict[str, Any]:
        """Make the folder with the note in it, or return the note that is there. What an earlier process left
        half-written goes. BadInput while another process is at it."""
        path = self._folder / self.NOTE
        with _told(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = held(self._folder, str(self._target))
            for left in self._folder.glob("*.part"):
                left.unlink()
            if path.is_file():
                found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                return found
            temporary = path.with_suffix(".part")
            temporary.write_text(json.dumps(note), encoding="utf-8")
            temporary.replace(path)
        return note

    def has(self, number: int) -> bool:
        """Whether a chunk is there already."""
        return self._path(number).is_file()

    def get(self, number: int) -> pl.DataFrame:
        """The rows of such a chunk."""
        return pl.read_parquet(self._path(number))

    def put(self, number: int, table: pl.DataFrame) -> None:
        """Write a chunk's rows."""
        path = self._path(number)
        temporary = path.with_suffix(".part")
        with _told(self._target):
            try:
                table.write_parquet(temporary)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def finish(self) -> "SortedFile":
        """Sort the parts into the target, which is there whole or not at all, whatever happens."""
        from pipelines.sweep.merge import merge_parts

        with _told(self._target):
            merge_parts(self._folder, self._target, self._sort, self._descending)
        return SortedFile(self._target)

    def discard(self) -> None:
        """Remove the folder, and a target that is in it."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Let others have the folder."""
        self._lock.close()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}.parquet"


def held(folder: Path, named: str) -> TextIO:
    """The lock of a folder of parts, which goes with the process, however that ends, or with its closing.
    BadInput while another process has it."""
    lock = (folder / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise BadInput("sweep", f"{named}: another process is at the same sweep") from None
    return lock


class SortedFile:
    """A finished sweep in a Parquet file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = pl.scan_parquet(path).select(pl.len(), pl.col("error").count()).collect().row(0)
        self.rows, self.failed = int(found[0]), int(found[1])

    def head(self, count: int) -> pl.DataFrame:
        """The first rows."""
        return pl.read_parquet(self._path, n_rows=count)

    def errors(self, count: int) -> pl.DataFrame:
        """Some rows that failed."""
        failed = pl.scan_parquet(self._path).filter(pl.col("error").is_not_null())
        return failed.head(count).collect()

    def batches(self) -> Iterator[pl.DataFrame]:
        """All rows, a row group at a time."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._path) as file:
            for batch in file.iter_batches():
                found = pl.from_arrow(batch)
                assert isinstance(found, pl.DataFrame)
                yield found


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns a failure to write into one line that names the file and what is kept."""
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        raise _no_room(path, getattr(error, "strerror", None) or str(error)) from None


def _no_room(path: Path, said: str) -> TcpError:
    return TcpError(
        f"--out: {path}: {said.splitlines()[0]}; what is done is kept: make room and run the same command "
        "again"
    )
