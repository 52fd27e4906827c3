"""A day of raw trades: Postgres → Parquet → read back and compared → manifest, then removed if asked."""

from collections.abc import Iterable, Iterator
from datetime import date

import msgspec
import pyarrow as pa
from sqlalchemy import Connection

from core.errors import BadInput, Unavailable
from pipelines.lake.days import covers, each_once, read_sound, write_day
from pipelines.lake.files import RAW_TRADES
from pipelines.lake.store import LakeStore, open_store
from pipelines.warehouse.archive import delete_trades_of_day, read_trades_of_day, traded_symbols
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import LakeFile, find_files, locked_day, replace_files
from pipelines.warehouse.sql import EXCHANGE, to_ms
from pipelines.warehouse.trade_days import day_bounds, drop_empty_day, stored_days
from pipelines.warehouse.trade_marks import mark_day


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

    The last trade of each minute stays as a mark, which a restart goes on from. Repeating it changes nothing.
    When trades came in after an earlier archive, the day is written anew from both. A file that does not read
    back as it was written raises Unavailable, and nothing is removed.
    """
    store = open_store(lake_url)
    own = engine(database_url).execution_options(isolation_level="REPEATABLE READ")
    with locked_day(own, symbol, date) as connection:
        with connection.begin():
            old = find_files(connection, RAW_TRADES, EXCHANGE, symbol, date)
            stored = read_trades_of_day(connection, symbol, date)
            sound = _archived(store, old, stored)
            table = each_once([*sound.values(), stored])
            if not table.num_rows and not sound:
                return ArchivedFile(None, 0, 0, None, None, None, False, 0)
            new = write_day(store, table, symbol, date, whole=any(file.whole for file in sound))
            replace_files(connection, old, new)
            dropped = _drop(connection, symbol, date) if drop else 0
            if drop and dropped != stored.num_rows:
                raise Unavailable(f"{symbol} {date}: {dropped} rows to remove, {stored.num_rows} archived")
        if drop:
            with connection.begin():
                drop_empty_day(connection, date)
    written = [file.path for file in old] != [new.path]
    for file in sound:
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
    database_url: str,
    lake_url: str,
    symbol: str | None = None,
    day: date | None = None,
    drop: bool = False,
    *,
    exchange_ms: int,
) -> Iterator[tuple[str, date, ArchivedFile]]:
    """Archive one day or, without `day`, every stored day that is over (a later trade is stored, or the
    exchange's clock says so), of one symbol or of all; yields (symbol, day, result) as each is done.

    exchange_ms: the exchange's present, see `is_over`. BadInput when nothing of `symbol` is stored.
    """
    with engine(database_url).connect() as connection:
        symbols = [symbol] if symbol is not None else traded_symbols(connection)
        days = {name: [day] if day is not None else stored_days(connection, name) for name in symbols}
    if symbol is not None and not days[symbol]:
        raise BadInput("--symbol", f"no trades of {symbol!r} are stored; `tcp data status` lists what is")
    for name, wanted in days.items():
        running = day is None and bool(wanted) and not is_over(wanted[-1], exchange_ms)
        for each in wanted[:-1] if running else wanted:
            yield name, each, archive_raw_trades(database_url, lake_url, name, each, drop)


def days_to_archive(database_url: str, first: date, last: date) -> list[tuple[str, date]]:
    """The stored days from `first` to `last` that the manifest has no file of, by symbol, oldest first."""
    with engine(database_url).connect() as connection:
        known = {(file.symbol, file.date) for file in find_files(connection, RAW_TRADES, EXCHANGE)}
        stored = [(name, day) for name in traded_symbols(connection) for day in stored_days(connection, name)]
    return [(name, day) for name, day in stored if first <= day <= last and (name, day) not in known]


def check_over(days: Iterable[date], exchange_ms: int) -> None:
    """BadInput for a day that is still running: its trades are needed, and nobody may drop them."""
    for day in days:
        if not is_over(day, exchange_ms):
            raise BadInput("drop", f"{day} is not over: leave its trades in Postgres until then")


def is_over(day: date, exchange_ms: int) -> bool:
    """Whether the exchange's clock has left that UTC day behind. Before, an archive holds only its beginning,
    and has to be repeated. exchange_ms: its present, of `pipelines.warehouse.health.exchange_ms`."""
    return to_ms(day_bounds(day)[1]) <= exchange_ms


def _drop(connection: Connection, symbol: str, day: date) -> int:
    mark_day(connection, symbol, day)
    return delete_trades_of_day(connection, symbol, day)


def _archived(store: LakeStore, old: list[LakeFile], stored: pa.Table) -> dict[LakeFile, pa.Table]:
    """The trades of the files that are sound. One that is not can only be made good from Postgres, if the
    same trades are still there; it goes to the quarantine then."""
    sound = read_sound(store, old)
    for file in old:
        if file in sound:
            continue
        if not covers(stored, file):
            raise Unavailable(
                f"{file.path} is missing or damaged, and Postgres no longer has its trades: "
                "fetch them again with `tcp backfill trades`"
            )
        store.set_aside(file.path)
    return sound
