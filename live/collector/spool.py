"""Batches on disk while Postgres stays away: append-only segments, synced, checked, drained in order."""

import contextlib
import errno
import os
import shutil
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import msgspec

from live.collector.batch import Batch, Chunk, Lost, Position
from live.collector.records import Record, decode, encode
from live.collector.segments import (
    DAMAGED,
    START,
    Brackets,
    Damage,
    Segment,
    create_segment,
    open_segment,
    quarantine,
    sync_folder,
    walk,
    write_all,
)

REFUSED = "refused.jsonl"
SEGMENT_BYTES = 64_000_000
RESERVE_BYTES = 200_000_000
"""Space left free: Postgres, which often shares the disk, must be able to come back."""


class Recovered(msgspec.Struct, frozen=True):
    """What an earlier process left.

    torn: segments whose last record was not finished
    damaged: files that damaged records were copied to
    lost: the trades that were in those
    """

    trades: int
    segments: int
    torn: int
    damaged: list[str]
    lost: list[Lost]


class Spool:
    """A first-in, first-out store of batches in the files of one folder, for one process.

    What `append` returned from is on the disk. Nothing here is safe to call from two threads at once. A
    record that the disk does not give back as it was written is copied to a file of its own, told of with
    the ids that were in it, and passed over.

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
        self._segments: deque[Segment] = deque()
        self._writing: int | None = None
        self._number = 0
        self._brackets = Brackets()
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
        torn, damaged, lost, brackets = 0, list[str](), list[Lost](), Brackets()
        paths = sorted(self.folder.glob("*.spool"))
        for path in paths:
            self._number = max(self._number, int(path.stem))
            segment = open_segment(path)
            if segment is None:
                path.unlink()
                torn += 1
                continue
            if drained is not None and drained.segment == segment.identity:
                segment.offset = max(START, drained.offset)
            for found in walk(segment):
                if isinstance(found, Record):
                    self.trades += found.trades
                    lost += brackets.whole(found.ids)
                elif found.unfinished and path == paths[-1]:
                    torn += 1
                    os.truncate(path, found.offset)
                    segment.size = found.offset
                else:
                    damaged.append(_kept(segment, found))
                    lost += brackets.damaged(found)
            self._segments.append(segment)
        result = Recovered(self.trades, len(self._segments), torn, damaged, lost)
        self._drop_drained()
        return result

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
            write_all(self._writing, data)
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
        """The oldest batches as one, of about that many trades at most, and what was found damaged on the
        way; None when nothing is left.

        Reading again gives the same until `drop`.
        """
        while self._segments:
            segment = self._segments[0]
            chunk = self._read_segment(segment, trades)
            assert chunk.drained is not None
            if chunk.batch.trades or chunk.batch.candles or chunk.batch.gaps or chunk.damaged:
                return chunk
            segment.offset = chunk.drained.offset
            self._drop_drained()
        return None

    def _read_segment(self, segment: Segment, trades: int) -> Chunk:
        batch, damaged, lost, end = Batch(), list[str](), list[Lost](), segment.offset
        try:
            for found in walk(segment):
                if isinstance(found, Record):
                    later = _decoded(found)
                    if later is not None:
                        lost += self._brackets.whole(found.ids)
                        batch.extend(later)
                        end = found.end
                        if len(batch.trades) >= trades:
                            break
                        continue
                    found = Damage(end, found.end, found.ids, False)
                if found.offset not in segment.known:
                    damaged.append(_kept(segment, found))
                    lost += self._brackets.damaged(found)
                end = found.end
        except OSError as error:
            if batch.trades:
                return Chunk(batch, Position(segment.identity, end), damaged, lost)
            # The disk gives nothing of the rest: what was in it is in no file any more.
            damaged.append(f"{segment.path} ({error.strerror})")
            lost += self._brackets.damaged(Damage(end, segment.size, None, True))
            end = segment.size
        return Chunk(batch, Position(segment.identity, end), damaged, lost)

    def drop(self, chunk: Chunk) -> None:
        """`chunk`, as read, is written elsewhere."""
        assert chunk.drained is not None and chunk.drained.segment == self._segments[0].identity
        self._segments[0].offset = chunk.drained.offset
        self.trades -= len(chunk.batch.trades)
        self._drop_drained()

    def keep_refused(self, refused: Batch) -> str:
        """Append rows to a file for people, as JSON lines; returns its path. Any thread may."""
        path = self.folder / DAMAGED / REFUSED
        rows = [*refused.trades, *refused.candles, *refused.gaps]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        except OSError as error:
            return f"the log ({path}: {error.strerror})"
        return str(path)

    def close(self) -> None:
        """Let go of the file; what is in it stays for the next process."""
        self._end_writing()

    def _begin_segment(self) -> None:
        self._end_writing()
        self._number += 1
        segment, self._writing = create_segment(self.folder, self._number)
        self._segments.append(segment)

    def _end_writing(self) -> None:
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    def _drop_drained(self) -> None:
        """Delete the segments that have nothing left to read, the one being written too."""
        dropped = False
        while self._segments and self._segments[0].offset >= self._segments[0].size:
            if len(self._segments) == 1:
                self._end_writing()
                self.trades = 0  # what was lost is not waited for
            with contextlib.suppress(OSError):
                self._segments[0].path.unlink()
            self._segments.popleft()
            dropped = True
        if dropped:
            with contextlib.suppress(OSError):
                sync_folder(self.folder)


def _kept(segment: Segment, damage: Damage) -> str:
    """Where the damaged bytes are kept, for people."""
    segment.known.add(damage.offset)
    path = quarantine(segment, damage)
    return str(path) if path else f"{segment.path} {damage.offset}-{damage.end} (no copy could be made)"


def _decoded(record: Record) -> Batch | None:
    """None: its checksum is right and it is not one of ours, which is damage as well."""
    assert record.payload is not None
    try:
        return decode(record.payload)
    except msgspec.DecodeError:
        return None
