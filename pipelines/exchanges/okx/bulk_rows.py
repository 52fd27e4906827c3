"""What is in one of OKX's bulk files of trades: a zip with a CSV, whose columns changed over the years.

Columns are found by their names, never by their places: the old files have size before price, a header in GBK
with Chinese beside the English words, the newest a column more. Sizes may have an exponent, rows any order.
"""

import re
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from core.errors import Unavailable

MONEY = pa.decimal128(38, 18)
SCHEMA = pa.schema(
    [
        pa.field("trade_id", pa.int64()),
        pa.field("timestamp_ms", pa.int64()),
        pa.field("price", MONEY),
        pa.field("size", MONEY),
        pa.field("side", pa.string()),
    ]
)
"""Sorted by trade_id, each once; side: the taker's, buy or sell."""

_NAMES = {
    "trade_id": ("trade_id", "tradeid", "撮合id", "成交id"),
    "side": ("side", "交易方向", "方向"),
    "size": ("size", "sz", "amount", "qty", "数量", "交易数量"),
    "price": ("price", "px", "价格", "成交价格"),
    "timestamp_ms": ("created_time", "createdtime", "timestamp", "ts", "成交时间", "时间"),
    "symbol": ("instrument_name", "instrument_id", "inst_id", "instid", "symbol"),
}
_COLUMN = {name: column for column, names in _NAMES.items() for name in names}
_TYPES = {"trade_id": pa.int64(), "timestamp_ms": pa.int64(), "price": MONEY, "size": MONEY}
_ROW = re.compile(rb"\S")
_DAY_MS = 86_400_000


class DamagedFile(Unavailable):
    """A bulk file that is not what it should be; the text says in which way."""


def read_bulk_file(path: Path, symbol: str, day_start_ms: int) -> pa.Table:
    """The trades of a bulk file as SCHEMA, prices and sizes exact.

    symbol: whose file it is, where its rows tell; day_start_ms: begin of its day, which the rows' times must
    be near. DamagedFile for anything else; FileNotFoundError when it is gone, because a backfill of the same
    days was done with it.
    """
    table = _parsed(_unpacked(path), path.name)
    if "symbol" in table.column_names:
        others = pc.unique(table["symbol"]).to_pylist()
        if others not in ([], [symbol]):
            raise DamagedFile(f"{path.name}: it has trades of {', '.join(map(str, others[:3]))}")
    return _checked(table.select(SCHEMA.names), path.name, day_start_ms)


def columns_of(header: bytes) -> list[str]:
    """Our names of a header's columns, in its order; a column that we do not need keeps its own name.

    ValueError when one that we need is missing.
    """
    names = [_normalised(part) for part in _decoded(header).split(",")]
    columns = [next((_COLUMN[word] for word in name.split("/") if word in _COLUMN), name) for name in names]
    missing = [name for name in SCHEMA.names if columns.count(name) != 1]
    if missing:
        raise ValueError(f"no column for {', '.join(missing)} in the header {', '.join(names)!r}")
    return columns


def _unpacked(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            tables = [name for name in archive.namelist() if name.lower().endswith(".csv")]
            if len(tables) != 1:
                raise DamagedFile(f"{path.name}: {len(tables)} CSV files in the zip, 1 expected")
            return archive.read(tables[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DamagedFile(f"{path.name}: not a whole zip: {error}") from None


def _decoded(header: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return header.decode(encoding)
        except UnicodeDecodeError:
            continue
    return header.decode("latin-1")


def _normalised(name: str) -> str:
    return name.strip().strip('"').strip().lower().replace(" ", "_")


def _parsed(text: bytes, name: str) -> pa.Table:
    end = text.find(b"\n") + 1 or len(text)
    try:
        columns = columns_of(text[:end])
    except ValueError as error:
        raise DamagedFile(f"{name}: {error}") from None
    types = {column: _TYPES.get(column, pa.string()) for column in columns}
    if _ROW.search(text, end) is None:
        return pa.schema(types.items()).empty_table()
    try:
        return pa_csv.read_csv(
            pa.BufferReader(pa.py_buffer(text).slice(end)),  # a day is 50 MB: not copied
            read_options=pa_csv.ReadOptions(column_names=columns),
            convert_options=pa_csv.ConvertOptions(column_types=types, strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        raise DamagedFile(f"{name}: {str(error).splitlines()[0]}") from None


def _checked(table: pa.Table, name: str, day_start_ms: int) -> pa.Table:
    """Sorted by id, each once, and every value possible; DamagedFile otherwise."""
    table = table.set_column(
        table.column_names.index("side"), "side", pc.utf8_lower(pc.utf8_trim_whitespace(table["side"]))
    ).cast(SCHEMA)
    times = table["timestamp_ms"]
    near = pc.and_(
        pc.greater_equal(times, day_start_ms - _DAY_MS), pc.less(times, day_start_ms + 2 * _DAY_MS)
    )
    zero = pa.scalar(0, MONEY)
    wrong = {
        "a value is missing": any(table[column].null_count for column in SCHEMA.names),
        "a side is neither buy nor sell": not _all(pc.is_in(table["side"], pa.array(["buy", "sell"]))),
        "a price or size is not above zero": not _all(
            pc.and_(pc.greater(table["price"], zero), pc.greater(table["size"], zero))
        ),
        "a trade is of another day": not _all(near),
    }
    for problem, is_so in wrong.items():
        if is_so:
            raise DamagedFile(f"{name}: {problem}")
    return _each_once(table, name)


def _each_once(table: pa.Table, name: str) -> pa.Table:
    ids = table["trade_id"].to_numpy()
    if np.all(ids[1:] > ids[:-1]):
        return table
    table = table.take(pa.array(np.argsort(ids, kind="stable")))
    ids = table["trade_id"].to_numpy()
    repeated = np.flatnonzero(ids[1:] == ids[:-1])
    if not len(repeated):
        return table
    if not table.take(pa.array(repeated)).equals(table.take(pa.array(repeated + 1))):
        raise DamagedFile(f"{name}: id {ids[repeated[0]]} stands for different trades")
    return table.take(pa.array(np.delete(np.arange(len(ids)), repeated + 1)))


def _all(flags: pa.ChunkedArray) -> bool:
    # Of no rows all are right.
    return bool(pc.all(flags, min_count=0).as_py())
