"""The files of a spool: their heads, their records, and what is damaged in them."""

import contextlib
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from live.collector.batch import Lost
from live.collector.records import Ids, Record, find_record, read_record

MAGIC = b"TCPSPL02"
START = len(MAGIC) + 16
"""Where the records of a segment begin: after the magic and its id."""
DAMAGED = "damaged"
"""Folder, beside the segments, of what could not be read."""


class Segment(msgspec.Struct):
    """A file and how far it is drained. known: where damage begins that was told already."""

    path: Path
    identity: str
    size: int
    offset: int = START
    known: set[int] = msgspec.field(default_factory=set)


class Damage(msgspec.Struct, frozen=True):
    """Bytes that cannot be read, `offset` to `end`. ids: of the trades in them, None when that is not
    readable either. unfinished: nothing readable follows in the segment."""

    offset: int
    end: int
    ids: list[Ids] | None
    unfinished: bool


class Brackets:
    """Finds the ids of damage that does not tell them: after the last trade before it, through the first
    record after it; what of them is stored nevertheless the ledger finds out."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._known: set[str] | None = None

    def damaged(self, damage: Damage) -> list[Lost]:
        """What is lost, as far as the damage tells."""
        if damage.ids is None:
            self._known = set()
            return []
        return [Lost(ids.symbol, ids.first_id, ids.last_id) for ids in damage.ids]

    def whole(self, ids: Sequence[Ids]) -> list[Lost]:
        """A record that can be read: what was lost before it."""
        lost = []
        for each in ids:
            last = self._last.get(each.symbol)
            if last is not None and each.last_id <= last:
                continue  # a refill: it says nothing about what came after
            if self._known is not None and each.symbol not in self._known:
                self._known.add(each.symbol)
                lost.append(Lost(each.symbol, None if last is None else last + 1, each.last_id))
            self._last[each.symbol] = each.last_id
        return lost


def create_segment(folder: Path, number: int) -> tuple[Segment, int]:
    """An empty one and the descriptor to append by; OSError leaves no file behind."""
    path, identity = folder / f"{number:012d}.spool", uuid.uuid4()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
    try:
        write_all(descriptor, MAGIC + identity.bytes)
        sync_folder(folder)
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return Segment(path, identity.hex, START), descriptor


def open_segment(path: Path) -> Segment | None:
    """The segment in a file; None when it ended before its first record. One whose head is damaged has
    another id, so that all of it is drained."""
    with path.open("rb") as file:
        head = file.read(START)
    if len(head) < START:
        return None
    return Segment(path, head[len(MAGIC) :].hex(), path.stat().st_size)


def walk(segment: Segment) -> Iterator[Record | Damage]:
    """What is in a segment from its offset on, in order. OSError when the disk does not give it."""
    at = segment.offset
    with segment.path.open("rb") as file:
        while at < segment.size:
            record = read_record(file, at, segment.size)
            if record is None:
                following = find_record(file, at + 1, segment.size)
                end = segment.size if following is None else following
                yield Damage(at, end, None, following is None)
                at = end
                continue
            if record.payload is None:
                yield Damage(at, record.end, record.ids, record.end == segment.size)
            else:
                yield record
            at = record.end


def quarantine(segment: Segment, damage: Damage) -> Path | None:
    """Copy damaged bytes to a file of their own for people to look at; None when that fails."""
    folder = segment.path.parent / DAMAGED
    path = folder / f"{segment.path.stem}-{damage.offset}.bin"
    with contextlib.suppress(OSError):
        folder.mkdir(exist_ok=True)
        with segment.path.open("rb") as file:
            file.seek(damage.offset)
            path.write_bytes(file.read(damage.end - damage.offset))
        return path
    return None


def write_all(descriptor: int, data: bytes) -> None:
    """Write and sync."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make names and deletions last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
