"""A day of raw trades: Postgres → Parquet → read back and compared → manifest, then removed if asked."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.errors import Unavailable
from pipelines.lake.files import RAW_TRADES, Contents, read_contents, trades_path, write_parquet
from pipelines.lake.store import LakeStore, open_store, sha256_of
from pipelines.warehouse.archive import (
    TRADES_SCHEMA,
    delete_trades_of_day,
    drop_empty_partition,
    read_trades_of_day,
    stored_days,
    traded_symbols,
)
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import LakeFile, find_files, replace_files
from pipelines.warehouse.sql import EXCHANGE

SORT = [("timestamp", "ascending"), ("trade_id", "ascending")]


class ArchivedFile(msgspec.Struct, frozen=True):
    """The archive of one day.

    path: relative to the lake's root; None, and rows 0, when the day has no trades
    written: False when the same file was there already
    dropped: rows removed from Postgres
    """

    path: str | None
    rows: int
    bytes: int
    sha256: str | None
    min_trade_id: int | None
    max_trade_id: int | None
    written: bool
    dropped: int


def archive_raw_trades(
    database_url: str, lake_url: str, symbol: str, date: date, drop: bool = False
) -> ArchivedFile:
    """Put the UTC day's stored trades of `symbol` into the lake; `drop` then removes them from Postgres.

    Repeating it changes nothing. When trades came in after an earlier archive, the day is written anew from
    both. A file that does not read back as it was written raises Unavailable, and nothing is removed.
    """
    store = open_store(lake_url)
    with engine(database_url).connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        with connection.begin():
            old = find_files(connection, RAW_TRADES, EXCHANGE, symbol, date)
            stored = read_trades_of_day(connection, symbol, date)
            table = _union(stored, [store.local(file.path) for file in old if _needed(store, file, stored)])
            if not table.num_rows:
                return ArchivedFile(None, 0, 0, None, None, None, False, 0)
            new = _write(store, table, symbol, date)
            replace_files(connection, old, new)
            dropped = delete_trades_of_day(connection, symbol, date) if drop else 0
            if drop and dropped != stored.num_rows:
                raise Unavailable(f"{symbol} {date}: {dropped} rows to remove, {stored.num_rows} archived")
        if drop:
            with connection.begin():
                drop_empty_partition(connection, date)
    written = [file.path for file in old] != [new.path]
    for file in old:
        if file.path != new.path:
            store.remove(file.path)
    return ArchivedFile(
        path=new.path,
        rows=new.rows,
        bytes=new.bytes,
        sha256=new.sha256,
        min_trade_id=new.min_trade_id,
        max_trade_id=new.max_trade_id,
        written=written,
        dropped=dropped,
    )


def archive_days(
    database_url: str, lake_url: str, symbol: str | None = None, day: date | None = None, drop: bool = False
) -> Iterator[tuple[str, date, ArchivedFile]]:
    """Archive one day or, without `day`, every stored day that is over (a later trade is stored), of one
    symbol or of all; yields (symbol, day, result) as each is done."""
    with engine(database_url).connect() as connection:
        symbols = [symbol] if symbol is not None else traded_symbols(connection)
        days = {name: [day] if day is not None else stored_days(connection, name)[:-1] for name in symbols}
    for name, wanted in days.items():
        for each in wanted:
            yield name, each, archive_raw_trades(database_url, lake_url, name, each, drop)


def _needed(store: LakeStore, file: LakeFile, stored: pa.Table) -> bool:
    """Whether the archived file has to be read. One that is lost or damaged can only be made good from
    Postgres, if the same trades are still there."""
    path = store.local(file.path)
    if path.is_file() and sha256_of(path) == file.sha256:
        return True
    ids = stored["trade_id"]
    covers = stored.num_rows >= file.rows and (
        pc.min(ids).as_py() <= file.min_trade_id and pc.max(ids).as_py() >= file.max_trade_id
    )
    if not covers:
        raise Unavailable(f"{file.path} is missing or damaged, and Postgres no longer has its trades")
    return False


def _union(stored: pa.Table, files: list[Path]) -> pa.Table:
    """Stored and archived trades, each once, sorted. Of a trade in both, the archived row stays."""
    archived = [pq.read_table(file, schema=TRADES_SCHEMA, partitioning=None) for file in files]
    if not archived:
        return stored
    known = pa.concat_tables(archived)
    fresh = stored.join(
        known.select(["trade_id", "timestamp"]), keys=["trade_id", "timestamp"], join_type="left anti"
    )
    return pa.concat_tables([known, fresh.cast(TRADES_SCHEMA)]).sort_by(SORT)


def _write(store: LakeStore, table: pa.Table, symbol: str, day: date) -> LakeFile:
    """Write the day and read it back; what is on disk must be what was meant."""
    file = store.write(
        lambda sha256: trades_path(EXCHANGE, symbol, day, sha256), lambda path: write_parquet(table, path)
    )
    found = read_contents(store.local(file.path))
    meant = Contents(
        rows=table.num_rows,
        distinct_ids=table.num_rows,
        min_trade_id=pc.min(table["trade_id"]).as_py(),
        max_trade_id=pc.max(table["trade_id"]).as_py(),
        min_timestamp=table["timestamp"][0].as_py(),
        max_timestamp=table["timestamp"][-1].as_py(),
        ordered=True,
        sha256=file.sha256,
    )
    if found != meant:
        store.remove(file.path)
        raise Unavailable(f"{file.path}: read back {found}, wrote {meant}")
    return LakeFile(
        path=file.path,
        dataset=RAW_TRADES,
        exchange=EXCHANGE,
        symbol=symbol,
        date=day,
        rows=found.rows,
        bytes=file.bytes,
        min_timestamp=found.min_timestamp,
        max_timestamp=found.max_timestamp,
        min_trade_id=found.min_trade_id,
        max_trade_id=found.max_trade_id,
        sha256=found.sha256,
    )
