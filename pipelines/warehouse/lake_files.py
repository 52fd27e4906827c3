"""The manifest of the lake: lake_files. A file without a row is garbage, a row without a file is an alarm."""

from datetime import date, datetime

import msgspec
from sqlalchemy import Connection, Row, delete, select
from sqlalchemy.dialects.postgresql import insert

from pipelines.warehouse.tables import lake_files


class LakeFile(msgspec.Struct, frozen=True):
    """One file of the lake. path: relative to the lake's root; sha256: of the whole file, hexadecimal."""

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
