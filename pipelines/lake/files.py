"""The lake's Parquet files: their paths, how they are written, and what a re-reading finds."""

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.timeframes import Timeframe
from pipelines.lake.store import sha256_of

RAW_TRADES = "raw_trades"
CANDLES = "candles"
ROW_GROUP = 131_072
_COMPRESSION_LEVEL = 3


class Contents(msgspec.Struct, frozen=True):
    """What a file of trades really holds. distinct_ids: different trade ids; ordered: sorted by
    (timestamp, trade_id)."""

    rows: int
    distinct_ids: int
    min_trade_id: int
    max_trade_id: int
    min_timestamp: datetime
    max_timestamp: datetime
    ordered: bool
    sha256: str


def trades_path(exchange: str, symbol: str, day: date, sha256: str) -> str:
    """Relative path of a day of trades. The name holds the content's hash: a newer version of the day is
    another file, and the manifest moves from one to the other at once."""
    folder = f"{RAW_TRADES}/exchange={exchange}/symbol={symbol}/date={day:%Y-%m-%d}"
    return f"{folder}/trades-{sha256[:16]}.parquet"


def candles_path(exchange: str, symbol: str, timeframe: Timeframe, month: date, sha256: str) -> str:
    """Relative path of a month of candles, named like a day of trades."""
    series = f"{CANDLES}/exchange={exchange}/symbol={symbol}/timeframe={timeframe}"
    return f"{series}/month={month:%Y-%m}/candles-{sha256[:16]}.parquet"


def write_parquet(
    table: pa.Table,
    path: Path,
    repeated: Sequence[str] = ("side", "source"),
    growing: Sequence[str] = (),
) -> None:
    """Zstandard-compressed Parquet. The same table gives the same bytes.

    repeated: columns of few distinct values; growing: integers and times that mostly grow: differences
    """
    pq.write_table(
        table,
        path,
        compression="zstd",
        compression_level=_COMPRESSION_LEVEL,
        row_group_size=ROW_GROUP,
        use_dictionary=list(repeated),
        column_encoding=dict.fromkeys(growing, "DELTA_BINARY_PACKED") or None,
    )


def write_trades(table: pa.Table, path: Path) -> None:
    """A file of trades."""
    write_parquet(table, path, ["side", "source", "count"], ["trade_id", "timestamp", "received_at"])


def read_contents(path: Path) -> Contents:
    """Read a file of trades again, from the disk, all of its ids and times."""
    table = pq.read_table(path, columns=["timestamp", "trade_id"], memory_map=False, partitioning=None)
    ids, times = table["trade_id"].to_numpy(), table["timestamp"].to_numpy()
    time_range = pc.min_max(table["timestamp"]).as_py()
    return Contents(
        rows=table.num_rows,
        distinct_ids=len(ids) if np.all(ids[1:] > ids[:-1]) else len(np.unique(ids)),
        min_trade_id=int(ids.min()),
        max_trade_id=int(ids.max()),
        min_timestamp=time_range["min"],
        max_timestamp=time_range["max"],
        ordered=is_in_order(times, ids),
        sha256=sha256_of(path),
    )


def is_in_order(times: npt.NDArray[Any], ids: npt.NDArray[Any]) -> bool:
    """Whether trades are sorted by (timestamp, trade_id), none twice."""
    later, same = times[1:] > times[:-1], times[1:] == times[:-1]
    return bool(np.all(later | (same & (ids[1:] > ids[:-1]))))
