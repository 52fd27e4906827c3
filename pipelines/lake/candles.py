"""Candles of a month out of market_data into the lake; they stay in Postgres too."""

from datetime import date

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import Unavailable
from core.timeframes import Timeframe
from pipelines.lake.files import CANDLES, candles_path, write_parquet
from pipelines.lake.store import LakeStore, open_store, sha256_of
from pipelines.warehouse.archive import read_candles_of_month
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import LakeFile, find_files, locked_month, replace_files
from pipelines.warehouse.sql import EXCHANGE


class ExportedCandles(msgspec.Struct, frozen=True):
    """path: relative to the lake's root; None, and rows 0, when the month has no candles."""

    path: str | None
    rows: int
    bytes: int
    sha256: str | None
    written: bool


def export_candles(
    database_url: str, lake_url: str, symbol: str, timeframe: Timeframe, month: date
) -> ExportedCandles:
    """Write the stored candles of the UTC month of `month` (those that open in it) as one Parquet file.

    Repeating it changes nothing; when candles were added or revised, a new file takes the old one's place.
    """
    store, first = open_store(lake_url), month.replace(day=1)
    with locked_month(engine(database_url), symbol, timeframe, first) as connection, connection.begin():
        table = read_candles_of_month(connection, symbol, timeframe, first)
        folder = candles_path(EXCHANGE, symbol, timeframe, first, "")
        old = [
            file
            for file in find_files(connection, CANDLES, EXCHANGE, symbol, first)
            if file.path.startswith(folder.rpartition("/")[0] + "/")
        ]
        if not table.num_rows:
            return ExportedCandles(None, 0, 0, None, False)
        new = _write(store, table, symbol, timeframe, first)
        replace_files(connection, old, new)
    for stale in old:
        if stale.path != new.path:
            store.remove(stale.path)
    return ExportedCandles(new.path, new.rows, new.bytes, new.sha256, [f.path for f in old] != [new.path])


def _write(store: LakeStore, table: pa.Table, symbol: str, timeframe: Timeframe, first: date) -> LakeFile:
    """Write the month and read it back; what is on disk must be what was meant."""
    file = store.write(
        lambda sha256: candles_path(EXCHANGE, symbol, timeframe, first, sha256),
        lambda path: write_parquet(table, path, ["source"]),
    )
    with store.local(file.path) as path:
        is_same = sha256_of(path) == file.sha256 and pq.read_table(path, partitioning=None).equals(table)
    if not is_same:
        store.remove(file.path)
        raise Unavailable(f"{file.path}: does not read back as it was written")
    return LakeFile(
        path=file.path,
        dataset=CANDLES,
        exchange=EXCHANGE,
        symbol=symbol,
        date=first,
        rows=table.num_rows,
        bytes=file.bytes,
        min_timestamp=table["timestamp"][0].as_py(),
        max_timestamp=table["timestamp"][-1].as_py(),
        min_trade_id=None,
        max_trade_id=None,
        sha256=file.sha256,
    )
