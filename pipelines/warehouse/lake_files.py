"""The manifest of the lake: lake_files. A file without a row is garbage, a row without a file is an alarm."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date, datetime

import msgspec
from sqlalchemy import Connection, Engine, Row, delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.tables import lake_files


class LakeFile(msgspec.Struct, frozen=True):
    """One file of the lake. path: relative to the lake's root; sha256: of the whole file, hexadecimal.

    whole: the exchange's own record of the day is in it, so that there is nothing left to fetch
    """

    path: str
    dataset: str
    exchange: str
    symbol: str
    date: date
    rows: int
    bytes: int
    min_timestamp: datetime
    max_timestamp: datetime
    min_trade_id: int | None
    max_trade_id: int | None
    sha256: str
    whole: bool = False


def find_files(
    connection: Connection,
    dataset: str | None = None,
    exchange: str | None = None,
    symbol: str | None = None,
    day: date | None = None,
) -> list[LakeFile]:
    """Manifest rows, all or those that match, by path."""
    query = select(lake_files).order_by(lake_files.c.path)
    wanted = {"dataset": dataset, "exchange": exchange, "symbol": symbol, "date": day}
    for name, value in wanted.items():
        if value is not None:
            query = query.where(lake_files.c[name] == value)
    return [_lake_file(row) for row in connection.execute(query)]


def locked_day(engine: Engine, symbol: str, day: date) -> AbstractContextManager[Connection]:
    """A connection outside any transaction, whose holder alone writes the lake's trades of that day."""
    return _locked(engine, f"{EXCHANGE} {symbol} {day}")


def locked_month(
    engine: Engine, symbol: str, timeframe: str, first: date
) -> AbstractContextManager[Connection]:
    """The same for the lake's candles of the month beginning at `first`."""
    return _locked(engine, f"{EXCHANGE} {symbol} {timeframe} {first}")


@contextmanager
def _locked(engine: Engine, name: str) -> Iterator[Connection]:
    key = {"key": name}
    with engine.connect() as connection:
        # Before the transaction: its snapshot must show what the one before it committed.
        connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:key, 7205))"), key)
        connection.commit()
        try:
            yield connection
        finally:
            connection.rollback()
            # A connection that is lost has no lock any more.
            with contextlib.suppress(SQLAlchemyError):
                connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:key, 7205))"), key)
                connection.commit()


def replace_files(connection: Connection, old: list[LakeFile], new: LakeFile) -> None:
    """In the caller's transaction: `new` takes the place of `old`."""
    stale = [file.path for file in old if file.path != new.path]
    if stale:
        connection.execute(delete(lake_files).where(lake_files.c.path.in_(stale)))
    values = msgspec.structs.asdict(new)
    statement = insert(lake_files).values(values)
    connection.execute(statement.on_conflict_do_update(index_elements=["path"], set_=values))


def _lake_file(row: Row[tuple[object, ...]]) -> LakeFile:
    fields = row._mapping
    return LakeFile(**{name: fields[name] for name in LakeFile.__struct_fields__})
