"""A UTC day of trades in the lake: several sources become one table, and the table one proven file."""

import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import Unavailable
from pipelines.lake.covered import runs_of
from pipelines.lake.files import RAW_TRADES, is_in_order, trades_path, write_trades
from pipelines.lake.store import LakeStore, disk_errors, has_hash, sha256_of
from pipelines.warehouse.archive import TRADES_SCHEMA
from pipelines.warehouse.lake_files import LakeFile
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.trade_days import day_bounds

SORT = [("timestamp", "ascending"), ("trade_id", "ascending")]


def read_trades_file(path: Path) -> pa.Table:
    """All trades of a file of the lake, as TRADES_SCHEMA."""
    return pq.read_table(path, schema=TRADES_SCHEMA, partitioning=None)


def read_sound(store: LakeStore, files: Sequence[LakeFile]) -> dict[LakeFile, pa.Table]:
    """The trades of those files that are there and have the hash of their manifest row."""
    sound = {}
    for file in files:
        with store.local(file.path) as path:
            if has_hash(path, file.sha256):
                sound[file] = read_trades_file(path)
    return sound


def is_sound(store: LakeStore, file: LakeFile) -> bool:
    """Whether a file is there and has the hash of its manifest row."""
    with store.local(file.path) as path:
        return has_hash(path, file.sha256)


def each_once(tables: Sequence[pa.Table]) -> pa.Table:
    """The trades of overlapping sources (TRADES_SCHEMA), each match once, sorted by (timestamp, trade_id).

    A row covers the ids trade_id − count + 1 … trade_id. Of rows whose ids lie inside another row's the wider
    one stays, and of equal ones that of the earlier table: the volume of every match counts once, whether it
    came alone (REST, bulk files) or inside an aggregate (the feed).
    """
    trades = pa.concat_tables([table.cast(TRADES_SCHEMA) for table in tables])
    ids = trades["trade_id"].to_numpy()
    kept = ids_once(ids, trades["count"].to_numpy())
    if len(kept) == len(ids) and is_in_order(trades["timestamp"].to_numpy(), ids):
        return trades
    return trades.take(pa.array(kept)).sort_by(SORT)


def ids_once(last: npt.NDArray[Any], counts: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """The places of the rows that stay, in order of their ids, see `each_once`."""
    first = last - counts + 1
    order = np.lexsort((-last, first))  # stable: an earlier row goes first
    reached = np.maximum.accumulate(last[order])
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = last[order][1:] > reached[:-1]
    return order[fresh]


def write_day(store: LakeStore, table: pa.Table, symbol: str, day: date, whole: bool) -> LakeFile:
    """Write a day's trades and read them back; what the store has must be what was meant, or Unavailable is
    raised and the file is gone again. whole: the exchange's own record of the day is in it. A day without a
    trade has no ids, and the time of its beginning."""
    file = store.write(
        lambda sha256: trades_path(EXCHANGE, symbol, day, sha256), lambda path: write_trades(table, path)
    )
    with store.local(file.path) as path:
        is_same = sha256_of(path) == file.sha256 and read_trades_file(path).equals(table)
    if not is_same:
        store.remove(file.path)
        raise Unavailable(f"{file.path}: does not read back as it was written")
    ids, times = (pc.min_max(table[name]).as_py() for name in ("trade_id", "timestamp"))
    start, _ = day_bounds(day)
    return LakeFile(
        path=file.path,
        dataset=RAW_TRADES,
        exchange=EXCHANGE,
        symbol=symbol,
        date=day,
        rows=table.num_rows,
        bytes=file.bytes,
        min_timestamp=times["min"] or start,
        max_timestamp=times["max"] or start,
        min_trade_id=ids["min"],
        max_trade_id=ids["max"],
        sha256=file.sha256,
        whole=whole,
    )


def covers(trades: pa.Table, file: LakeFile) -> bool:
    """Whether every match of a file that cannot be read is among the trades: they have each id from its first
    to its last, or make the same file again."""
    if not trades.num_rows:
        return False
    if file.min_trade_id is None or file.max_trade_id is None:
        return True
    runs = runs_of(trades["trade_id"].to_numpy(), trades["count"].to_numpy())
    start = runs.start_of(file.min_trade_id)
    if start is not None and start == runs.start_of(file.max_trade_id):
        return True
    with disk_errors(tempfile.gettempdir()), tempfile.TemporaryDirectory(prefix="tcp-lake-") as folder:
        path = Path(folder) / "day"
        write_trades(trades, path)
        return sha256_of(path) == file.sha256
