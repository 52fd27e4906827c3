"""Trades of bulk files into the lake, a proven file a UTC day."""

from datetime import date

import pyarrow as pa

from core.errors import Unavailable
from pipelines.lake.days import covers, each_once, is_sound, read_sound, write_day
from pipelines.lake.files import RAW_TRADES
from pipelines.lake.store import LakeStore
from pipelines.warehouse.archive import TRADES_SCHEMA
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import LakeFile, find_files, locked_day, replace_files
from pipelines.warehouse.sql import EXCHANGE


def bulk_trades(rows: pa.Table) -> pa.Table:
    """Single matches of the exchange's own files as TRADES_SCHEMA.

    rows: trade_id, timestamp_ms, price, size, side. Nobody received them, so `received_at` is their own time:
    the same files give the same bytes.
    """
    times = rows["timestamp_ms"].cast(pa.timestamp("ms", "UTC")).cast(pa.timestamp("us", "UTC"))
    count = pa.array([1], pa.int32()).take(pa.nulls(rows.num_rows, pa.int32()).fill_null(0))
    columns = {
        "trade_id": rows["trade_id"],
        "timestamp": times,
        "price": rows["price"],
        "size": rows["size"],
        "side": rows["side"],
        "count": count,
        "source": pa.repeat("bulk", rows.num_rows),
        "received_at": times,
    }
    return pa.table(columns, schema=TRADES_SCHEMA)


def whole_days(database_url: str, store: LakeStore, symbol: str, check: bool = False) -> set[date]:
    """The UTC days of which the lake has the exchange's own record in a file that is there; with `check` only
    those whose file is still what the manifest says, which reads all of them."""
    with engine(database_url).connect() as connection:
        files = [file for file in find_files(connection, RAW_TRADES, EXCHANGE, symbol) if file.whole]
    there = set(store.paths()) if files else set()
    return {file.date for file in files if file.path in there and (not check or is_sound(store, file))}


def store_day(
    database_url: str, store: LakeStore, symbol: str, day: date, trades: pa.Table, whole: bool
) -> LakeFile:
    """Put a UTC day's trades (TRADES_SCHEMA) into the lake beside those that it has already.

    whole: these are all trades of the day. A damaged file of the day is replaced only by a whole record, or
    by trades that have all of its ids, and kept in the quarantine; otherwise Unavailable.
    """
    with locked_day(engine(database_url), symbol, day) as connection, connection.begin():
        old = find_files(connection, RAW_TRADES, EXCHANGE, symbol, day)
        sound = read_sound(store, old)
        for file in old:
            if file not in sound:
                if not whole and not covers(trades, file):
                    raise Unavailable(f"{file.path} is missing or damaged; see `tcp data verify`")
                store.set_aside(file.path)
        table = each_once([*sound.values(), trades])
        new = write_day(store, table, symbol, day, whole or any(file.whole for file in sound))
        replace_files(connection, old, new)
    for file in sound:
        if file.path != new.path:
            store.remove(file.path)
    return new
