"""A batch as a record of the spool: a header with what is in it, checked on its own, and MessagePack."""

import struct
import zlib
from decimal import Decimal
from typing import BinaryIO

import msgspec

from core.candles import Candle
from core.trades import Side, Trade
from live.collector.batch import Batch, GapRecord

MARKER = b"\xc5\x9fRc"
"""Begins each record: after damage the next one is found by it."""
_HEADER = struct.Struct("<4sIIII")
"""Marker, length and checksum of the contents, length and checksum of the payload."""
HEADER_BYTES = _HEADER.size
LONGEST = 1 << 30
"""A length beyond this is damage."""
_SEARCH_BYTES = 1 << 20

_Row = tuple[str, int, int, Decimal, Decimal, Side, int, str]


class Ids(msgspec.Struct, frozen=True, array_like=True):
    """Trades of a symbol lie within these ids, first and last included."""

    symbol: str
    first_id: int
    last_id: int


class _Contents(msgspec.Struct, array_like=True):
    trades: int
    ids: list[Ids]


class _Stored(msgspec.Struct, array_like=True):
    # Trades as rows: without the names of their fields a record is half as long.
    trades: list[_Row]
    candles: list[Candle]
    gaps: list[GapRecord]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)
_contents_decoder = msgspec.msgpack.Decoder(_Contents)


class Record(msgspec.Struct, frozen=True):
    """A record as found. end: offset after it. payload: None when its checksum is wrong."""

    trades: int
    ids: list[Ids]
    end: int
    payload: bytes | None


def encode(batch: Batch) -> bytes:
    """The batch as a record."""
    rows = [
        (t.symbol, t.trade_id, t.timestamp_ms, t.price, t.size, t.side, t.count, t.source)
        for t in batch.trades
    ]
    payload = _encoder.encode(_Stored(rows, batch.candles, batch.gaps))
    contents = _encoder.encode(_Contents(len(rows), _ids(batch)))
    checksums = zlib.crc32(contents), zlib.crc32(payload)
    header = _HEADER.pack(MARKER, len(contents), checksums[0], len(payload), checksums[1])
    return header + contents + payload


def decode(payload: bytes) -> Batch:
    """The batch of a record whose checksum was right; msgspec.DecodeError when it is not one of ours."""
    stored = _decoder.decode(payload)
    return Batch([Trade(*row) for row in stored.trades], stored.candles, stored.gaps)


def read_record(file: BinaryIO, offset: int, size: int) -> Record | None:
    """The record that begins at `offset` of a file of `size` bytes; None when none does, or not all of it."""
    if offset + HEADER_BYTES > size:
        return None
    file.seek(offset)
    marker, contents_bytes, contents_crc, payload_bytes, payload_crc = _HEADER.unpack(file.read(HEADER_BYTES))
    end = offset + HEADER_BYTES + contents_bytes + payload_bytes
    if marker != MARKER or max(contents_bytes, payload_bytes) > LONGEST or end > size:
        return None
    contents = file.read(contents_bytes)
    if zlib.crc32(contents) != contents_crc:
        return None
    payload = file.read(payload_bytes)
    found = _contents_decoder.decode(contents)
    whole = zlib.crc32(payload) == payload_crc
    return Record(found.trades, found.ids, end, payload if whole else None)


def find_record(file: BinaryIO, offset: int, size: int) -> int | None:
    """Where the first record at or after `offset` begins, if there is one that is all there."""
    while offset < size:
        file.seek(offset)
        block = file.read(_SEARCH_BYTES)
        at = block.find(MARKER)
        while at >= 0:
            if read_record(file, offset + at, size) is not None:
                return offset + at
            at = block.find(MARKER, at + 1)
        offset += max(1, len(block) - len(MARKER) + 1)
    return None


def _ids(batch: Batch) -> list[Ids]:
    spans: dict[str, tuple[int, int]] = {}
    for trade in batch.trades:
        low, high = spans.get(trade.symbol, (trade.first_id, trade.trade_id))
        spans[trade.symbol] = min(low, trade.first_id), max(high, trade.trade_id)
    return [Ids(symbol, low, high) for symbol, (low, high) in spans.items()]
