"""Whether the archived WAL is whole: a segment that is missing or torn is found before it is needed."""

import gzip
import re
import zlib
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from cli.stack.archive import bases, first_segment
from cli.stack.archive_folder import PACKED
from cli.stack.postgres import PostgresServer
from core.errors import BadInput
from pipelines.warehouse.wal_archive import segment_number

SEGMENT_BYTES = 16 * 2**20
_CHUNK = 2**20
_SEGMENT = re.compile(rf"[0-9A-F]{{24}}(?:{re.escape(PACKED)})?")


def check_wal(server: PostgresServer) -> int:
    """Read every archived segment since the oldest base backup; returns how many. BadInput names the first
    that is missing or torn: what is recovered from a base before it ends there."""
    wal = server.archive_in_use() / "wal"
    since = first_segment(bases(server)[0][1])
    found = _segments(wal, since)
    if (name := _hole(found, since)) is not None:
        raise _refusal(wal, f"{name} is missing")
    for path in found.values():
        if not _is_whole(path):
            raise _refusal(wal, f"{path.name} is torn")
    return len(found)


def missing_segment(wal: Path, since: str) -> str | None:
    """The first segment from `since` (its name) on that is not there while a later one is; None: all are."""
    return _hole(_segments(wal, since), since)


def _refusal(wal: Path, what: str) -> BadInput:
    return BadInput(
        "TCP_WAL_ARCHIVE",
        f"{wal}: {what}: base backups from before it reach no later second, those made after it do",
    )


def _segments(wal: Path, since: str) -> Mapping[str, Path]:
    """Name of a segment from that one on → its file, in order; other files of the archive are not."""
    paths = {path.name[:24]: path for path in wal.iterdir() if _SEGMENT.fullmatch(path.name)}
    begin = _number(since)
    return {name: paths[name] for name in sorted(paths) if _number(name) >= begin}


def _hole(found: Mapping[str, Path], since: str) -> str | None:
    """Numbers follow one another on each timeline, and from `since` to the last one over all of them: a
    recovery began the next timeline with the number at which it left the one before."""
    timelines = defaultdict(list)
    for name in found:
        timelines[name[:8]].append(_number(name))
    every = sorted({number for numbers in timelines.values() for number in numbers})
    if every:
        every.insert(0, _number(since) - 1)
    for timeline, numbers in [(since[:8], every), *timelines.items()]:
        for before, after in pairwise(numbers):
            if after > before + 1:
                return _name(timeline, before + 1)
    return None


def _is_whole(path: Path) -> bool:
    """By its length and, packed, by the sum that gzip wrote."""
    if path.suffix != PACKED:
        return path.stat().st_size == SEGMENT_BYTES
    size = 0
    try:
        with gzip.open(path) as stream:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
    except (OSError, EOFError, zlib.error):
        return False
    return size == SEGMENT_BYTES


def _number(name: str) -> int:
    return segment_number(name, SEGMENT_BYTES)


def _name(timeline: str, number: int) -> str:
    high, low = divmod(number, 2**32 // SEGMENT_BYTES)
    return f"{timeline}{high:08X}{low:08X}"
