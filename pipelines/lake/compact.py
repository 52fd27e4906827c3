"""One file a day and nothing the manifest does not know."""

from collections import defaultdict
from datetime import date

import msgspec

from core.errors import BadInput
from pipelines.lake.archive import archive_raw_trades
from pipelines.lake.files import RAW_TRADES
from pipelines.lake.store import TEMPORARY, open_store
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import find_files
from pipelines.warehouse.sql import EXCHANGE

GRACE_MS = 3_600_000
"""A file younger than an hour may belong to an archive that is about to commit its manifest row."""


class Compaction(msgspec.Struct, frozen=True):
    """merged: days whose several files became one; removed: unfinished files, by relative path; set_aside:
    unknown files, by the path in the quarantine that they have now."""

    merged: list[tuple[str, date]]
    removed: list[str]
    set_aside: list[str]


def compact_lake(database_url: str, lake_url: str, now_ms: int) -> Compaction:
    """Merge the days that have several files; of files over an hour old at `now_ms` (this machine's clock, as
    the files' times are), delete the unfinished and move those that the manifest does not know to the
    quarantine. Repeating it changes nothing. BadInput when the manifest knows no file of the lake: it is
    that of another lake, or of none."""
    store = open_store(lake_url)
    with engine(database_url).connect() as connection:
        files = find_files(connection)
    there = store.paths()
    if there and {file.path for file in files}.isdisjoint(there):
        raise BadInput(
            "TCP_LAKE_URL",
            f"the database knows none of its {len(there):,} files: name the lake of this database, or the "
            "database of this lake (TCP_DATABASE_URL); `tcp data adopt` enters its trades in this one",
        )
    days: dict[tuple[str, date], int] = defaultdict(int)
    for file in files:
        if (file.dataset, file.exchange) == (RAW_TRADES, EXCHANGE):
            days[file.symbol, file.date] += 1
    merged = [day for day, count in days.items() if count > 1]
    for symbol, day in merged:
        archive_raw_trades(database_url, lake_url, symbol, day)
    with engine(database_url).connect() as connection:
        known = {file.path for file in find_files(connection)}
    unknown = [path for path in store.paths_before(now_ms - GRACE_MS) if path not in known]
    removed = [path for path in unknown if path.endswith(TEMPORARY)]
    for path in removed:
        store.remove(path)
    # Whole files may be the only copy of a day whose manifest row was lost: people decide on those.
    aside = [store.set_aside(path) for path in unknown if not path.endswith(TEMPORARY)]
    return Compaction(merged, removed, [path for path in aside if path is not None])
