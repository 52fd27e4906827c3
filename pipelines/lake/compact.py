"""One file a day and nothing the manifest does not know."""

from collections import defaultdict
from datetime import date

import msgspec

from pipelines.lake.archive import archive_raw_trades
from pipelines.lake.files import RAW_TRADES
from pipelines.lake.store import open_store
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import find_files
from pipelines.warehouse.sql import EXCHANGE

GRACE_MS = 3_600_000
"""A file younger than an hour may belong to an archive that is about to commit its manifest row."""


class Compaction(msgspec.Struct, frozen=True):
    """merged: days whose several files became one; removed: files that were garbage, by relative path."""

    merged: list[tuple[str, date]]
    removed: list[str]


def compact_lake(database_url: str, lake_url: str, now_ms: int) -> Compaction:
    """Merge the days that have several files, and delete unfinished and unknown files over an hour old at
    `now_ms` (this machine's clock, as the files' times are). Repeating it changes nothing."""
    store = open_store(lake_url)
    with engine(database_url).connect() as connection:
        files = find_files(connection)
    days: dict[tuple[str, date], int] = defaultdict(int)
    for file in files:
        if (file.dataset, file.exchange) == (RAW_TRADES, EXCHANGE):
            days[file.symbol, file.date] += 1
    merged = [day for day, count in days.items() if count > 1]
    for symbol, day in merged:
        archive_raw_trades(database_url, lake_url, symbol, day)
    with engine(database_url).connect() as connection:
        known = {file.path for file in find_files(connection)}
    removed = [path for path in store.paths_before(now_ms - GRACE_MS) if path not in known]
    for path in removed:
        store.remove(path)
    return Compaction(merged, removed)
