"""Which trade ids the lake has, so that nobody fetches them again."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.lake.files import RAW_TRADES
from pipelines.lake.store import has_hash, open_store
from pipelines.warehouse.archive import TRADES_SCHEMA
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import find_files
from pipelines.warehouse.sql import EXCHANGE, to_datetime

Ids = npt.NDArray[np.int64]


class Runs(NamedTuple):
    """Unbroken runs of ids, first … last, in order and apart from each other."""

    firsts: Ids
    lasts: Ids

    def start_of(self, trade_id: int) -> int | None:
        """The first id of the run that holds `trade_id`; None when none does."""
        place = int(np.searchsorted(self.firsts, trade_id, side="right")) - 1
        return int(self.firsts[place]) if place >= 0 and trade_id <= self.lasts[place] else None


NO_RUNS = Runs(np.empty(0, np.int64), np.empty(0, np.int64))


def archived_runs(database_url: str, lake_url: str, symbol: str, start_ms: int, end_ms: int) -> Runs:
    """The ids in the lake's days that touch [start_ms, end_ms). A file that is lost or damaged has none: what
    it held is worth fetching."""
    start, end = to_datetime(start_ms), to_datetime(end_ms)
    with engine(database_url).connect() as connection:
        files = find_files(connection, RAW_TRADES, EXCHANGE, symbol)
    wanted = [file for file in files if file.min_timestamp < end and file.max_timestamp >= start]
    store, tables = open_store(lake_url), []
    for file in wanted:
        with store.local(file.path) as path:
            if has_hash(path, file.sha256):
                tables.append(pq.read_table(path, columns=["trade_id", "count"], partitioning=None))
    ids = pa.concat_tables(tables) if tables else TRADES_SCHEMA.empty_table()
    return NO_RUNS if not ids.num_rows else runs_of(ids["trade_id"].to_numpy(), ids["count"].to_numpy())


def runs_of(last: Ids, counts: npt.NDArray[np.int32]) -> Runs:
    """The runs of rows that cover the ids last − count + 1 … last, at least one row."""
    first = last - counts + 1
    order = np.argsort(first, kind="stable")
    reached = np.maximum.accumulate(last[order])
    begins = np.flatnonzero(first[order][1:] > reached[:-1] + 1) + 1
    return Runs(first[order][np.append(0, begins)], reached[np.append(begins - 1, len(order) - 1)])
