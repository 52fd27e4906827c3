"""Batches on disk while Postgres stays away: append-only segments, synced, checked, drained in order."""

import contextlib
import errno
import os
import shutil
import uuid
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgspec

from live.collector.batch import Batch, Chunk, Position
from live.collector.records import decode, encode, read_record

MAGIC = b"TCPSPL01"
START = len(MAGIC) + 16
"""Where the records of a segment begin: after the magic and its id."""
SEGMENT_BYTES = 64_000_000
RESERVE_BYTES = 200_000_000
"""Space left free: Postgres, which often shares the disk, must be able to come back."""


class Recovered(msgspec.Struct, frozen=True):
    """What an earlier process left. torn: segments whose last record was not finished; damaged: records that
    cannot be read although more follow."""

    trades: int
    segments: int
    torn: int
    damaged: int


class _Segment(msgspec.Struct):
    path: Path
    identity: str
    size: int
    offset: int = START


class Spool:
    """A first-in, first-out store of batches in the files of one folder, for one process.

    What `append` returned from is on the disk. Nothing here is safe to call from two threads at once.

    Parameters
    ----------
    folder: made when first needed; one a database
    segment_bytes: a new file is begun beyond this; a drained one is deleted
    reserve_bytes: `append` fails rather than leave less than this free
    """

    def __init__(
        self, folder: Path, segment_bytes: int = SEGMENT_BYTES, reserve_bytes: int = RESERVE_BYTES
    ) -> None:
        self.folder = folder
        self._segment_bytes = segment_bytes
        self._reserve_bytes = reserve_bytes
        self._segments: deque[_Segment] = deque()
        self._writing: int | None = None
        self._number = 0
        self.trades = 0

    @property
    def waiting(self) -> bool:
        """Whether there is anything to drain."""
        return bool(self._segments)

    @property
    def bytes(self) -> int:
        """Size of what is still to drain."""
        return sum(segment.size - segment.offset for segment in tuple(self._segments))

    def recover(self, drained: Position | None) -> Recovered:
        """Take over what is in the folder, from `drained` on; unfinished ends are cut off."""
        torn = damaged = 0
        for path in sorted(self.folder.glob("*.spool")):
            self._number = max(self._number, int(path.stem))
            segment = _opened(path)
            if segment is None:
                path.unlink()
                torn += 1
                continue
            if drained is not None and drained.segment == segment.identity:
                segment.offset = max(START, drained.offset)
            torn_here, damaged_here = self._check(segment)
            torn, damaged = torn + torn_here, damaged + damaged_here
            self._segments.append(segment)
        found = Recovered(self.trades, len(self._segments), torn, damaged)
        self._drop_drained()
        return found

    def append(self, batches: Sequence[Batch]) -> None:
        """Write and sync. OSError when that fails, after which none of it is there."""
        data = b"".join(encode(batch) for batch in batches)
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < len(data) + self._reserve_bytes:
            raise OSError(errno.ENOSPC, f"less than {self._reserve_bytes // 1_000_000} MB would be left free")
        if self._writing is None or self._segments[-1].size > self._segment_bytes:
            self._begin_segment()
        assert self._writing is not None
        segment = self._segments[-1]
        try:
            _write_all(self._writing, data)
        except OSError:
            # What of it got to the disk is an unfinished end: cut it off, or else the next reader does.
            with contextlib.suppress(OSError):
                os.truncate(segment.path, segment.size)
            self._end_writing()
            self._drop_drained()
            raise
        segment.size += len(data)
        self.trades += sum(len(batch.trades) for batch in batches)

    def read(self, trades: int) -> Chunk | None:
        """The oldest batches as one, of about that many trades at most; None when nothing can be read.

        Reading again gives the same until `drop`.
        """
        while self._segments:
            segment = self._segments[0]
            batch, end = Batch(), segment.offset
            with segment.path.open("rb") as file:
                while end < segment.size and len(batch.trades) < trades:
                    record = read_record(file, end, segment.size)
                    assert record is not None  # unfinished ends are cut off
                    if record.payload is not None:
                        batch.extend(decode(record.payload))
                    end = record.end
            if batch.trades or batch.candles or batch.gaps:
                return Chunk(batch, Position(segment.identity, end))
            segment.offset = end
            self._drop_drained()
        return None

    def drop(self, chunk: Chunk) -> None:
        """`chunk`, as read, is written elsewhere."""
        assert chunk.drained is not None and chunk.drained.segment == self._segments[0].identity
        self._segments[0].offset = chunk.drained.offset
        self.trades -= len(chunk.batch.trades)
        self._drop_drained()

    def close(self) -> None:
        """Let go of the file; what is in it stays for the next process."""
        self._end_writing()

    def _begin_segment(self) -> None:
        self._end_writing()
        self._number += 1
        path, identity = self.folder / f"{self._number:012d}.spool", uuid.uuid4()
        self._writing = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            _write_all(self._writing, MAGIC + identity.bytes)
            _sync_folder(self.folder)
        except OSError:
            self._end_writing()
            path.unlink(missing_ok=True)
            raise
        self._segments.append(_Segment(path, identity.hex, START))

    def _end_writing(self) -> None:
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    def _check(self, segment: _Segment) -> tuple[int, int]:
        """Count the trades to drain; cut off an unfinished end. Returns (torn, damaged records)."""
        end, damaged, last_is_bad = segment.offset, 0, False
        good_end = end
        with segment.path.open("rb") as file:
            while (record := read_record(file, end, segment.size)) is not None:
                end, last_is_bad = record.end, record.payload is None
                damaged += last_is_bad
                if not last_is_bad:
                    good_end = end
                    self.trades += record.trades
        torn = good_end < segment.size
        if torn:
            os.truncate(segment.path, good_end)
            segment.size = good_end
        return int(torn), damaged - last_is_bad

    def _drop_drained(self) -> None:
        """Delete the segments that have nothing left to read, the one being written too."""
        dropped = False
        while self._segments and self._segments[0].offset >= self._segments[0].size:
            if len(self._segments) == 1:
                self._end_writing()
            self._segments.popleft().path.unlink(missing_ok=True)
            dropped = True
        if dropped:
            _sync_folder(self.folder)


def _opened(path: Path) -> _Segment | None:
    """The segment in a file; None when not even its head is there."""
    with path.open("rb") as file:
        head = file.read(START)
    if len(head) < START or not head.startswith(MAGIC):
        return None
    return _Segment(path, head[len(MAGIC) :].hex(), path.stat().st_size)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make names and deletions last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
