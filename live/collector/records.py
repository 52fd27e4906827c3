"""A batch as a record of the spool: length, checksum, number of trades, and MessagePack."""

import struct
import zlib
from decimal import Decimal
from typing import BinaryIO

import msgspec

from core.candles import Candle
from core.trades import Side, Trade
from live.collector.batch import Batch, GapRecord

_HEADER = struct.Struct("<III")
HEADER_BYTES = _HEADER.size
LONGEST = 1 << 30
"""A length beyond this is damage."""

_Row = tuple[str, int, int, Decimal, Decimal, Side, int, str]


class _Stored(msgspec.Struct, array_like=True):
    # Trades as rows: without the names of their fields a record is half as long.
    trades: list[_Row]
    candles: list[Candle]
    gaps: list[GapRecord]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


class Record(msgspec.Struct, frozen=True):
    """A record as found. end: offset after it. payload: None when its checksum is wrong."""

    trades: int
    end: int
    payload: bytes | None


def encode(batch: Batch) -> bytes:
    """The batch as a record."""
    rows = [
        (t.symbol, t.trade_id, t.timestamp_ms, t.price, t.size, t.side, t.count, t.source)
        for t in batch.trades
    ]
    payload = _encoder.encode(_Stored(rows, batch.candles, batch.gaps))
    return _HEADER.pack(len(payload), zlib.crc32(payload), len(rows)) + payload


def decode(payload: bytes) -> Batch:
    """The batch of a record whose checksum was right."""
    stored = _decoder.decode(payload)
    return Batch([Trade(*row) for row in stored.trades], stored.candles, stored.gaps)


def read_record(file: BinaryIO, offset: int, size: int) -> Record | None:
    """The record that begins at `offset` of a file of `size` bytes; None when it is not all there."""
    if offset + HEADER_BYTES > size:
        return None
    file.seek(offset)
    length, checksum, trades = _HEADER.unpack(file.read(HEADER_BYTES))
    end = offset + HEADER_BYTES + length
    if length > LONGEST or end > size:
        return None
    payload = file.read(length)
    return Record(trades, end, payload if zlib.crc32(payload) == checksum else None)
