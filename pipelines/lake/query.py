"""SQL over the lake: DuckDB in memory, with a view for each dataset over the files of the manifest."""

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb
import msgspec
import polars as pl
import pyarrow as pa

from core.errors import BadInput, Unavailable
from pipelines.lake.files import CANDLES, RAW_TRADES
from pipelines.lake.store import TEMPORARY, LakeStore, LocalStore, open_store
from pipelines.warehouse.archive import CANDLES_SCHEMA, TRADES_SCHEMA
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import LakeFile, find_files

_PARTITIONS = {
    RAW_TRADES: {"exchange": pa.string(), "symbol": pa.string(), "date": pa.date32()},
    CANDLES: {
        "exchange": pa.string(),
        "symbol": pa.string(),
        "timeframe": pa.string(),
        "month": pa.string(),
    },
}
_STORE_ERROR = re.compile(r"^(?:obstore\.exceptions\.)?\w+Error: (.*)$", re.MULTILINE)
"""An error of the object store's client, inside the traceback that DuckDB hands on."""
_SCHEMAS = {RAW_TRADES: TRADES_SCHEMA, CANDLES: CANDLES_SCHEMA}


def query_lake(database_url: str, lake_url: str, sql: str) -> pl.DataFrame:
    """The rows that a statement gives over the views `raw_trades`, `candles` and `lake_files`.

    Each view has the columns of its files and of its folders (exchange, symbol, date; timeframe, month). Only
    files of the manifest are seen, and only the columns and row groups that are needed are read, in an object
    store too. Intervals come as text. BadInput for SQL that is wrong, Unavailable when a file cannot be read.
    """
    store = open_store(lake_url)
    with engine(database_url).connect() as connection:
        files = find_files(connection)
    # No extension is ever downloaded: what is needed is built in.
    settings: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    with duckdb.connect(config=settings) as database:
        database.execute("SET TimeZone = 'UTC'")
        try:
            for dataset in _SCHEMAS:
                _view(database, store, dataset, [file for file in files if file.dataset == dataset])
            database.register("lake_files", _manifest(files))
            result = database.sql(sql)
            if result is None:
                raise BadInput("SQL", "the statement gives no rows: use SELECT")
            return _frame(result)
        except (duckdb.IOException, duckdb.InvalidInputException) as error:
            raise Unavailable(f"{_first_line(error)}; see `tcp data verify`") from None
        except duckdb.OutOfRangeException as error:
            # The product of two columns of 18 decimals has 36, which leaves no room.
            raise BadInput("SQL", f"{_first_line(error)} Such as price::DOUBLE * size") from None
        except duckdb.Error as error:
            if (of_store := _STORE_ERROR.search(str(error))) is not None:
                raise Unavailable(f"{lake_url}: {of_store[1]}; see `tcp data verify`") from None
            raise BadInput("SQL", _first_line(error)) from None


def _frame(result: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    """All rows. Polars has no interval: of months, days and microseconds apart."""
    casts = ["::VARCHAR" if "INTERVAL" in str(kind) else "" for kind in result.types]
    if any(casts):
        names = [name.replace('"', '""') for name in result.columns]
        columns = (
            f'#{n}{cast} AS "{name}"' for n, (name, cast) in enumerate(zip(names, casts, strict=True), 1)
        )
        result = result.project(", ".join(columns))
    rows: pl.DataFrame = result.pl()
    return rows


def write_rows(rows: pl.DataFrame, path: Path) -> None:
    """Write rows to a .parquet file, or else a CSV, which is whole or not there. Unavailable when the disk
    takes no more."""
    partial = path.with_name(f"{path.name}{TEMPORARY}")
    try:
        rows.write_parquet(partial) if path.suffix == ".parquet" else rows.write_csv(partial)
        partial.replace(path)
    except (OSError, pl.exceptions.ComputeError) as error:
        raise Unavailable(f"{path}: {_first_line(error)}") from None
    finally:
        partial.unlink(missing_ok=True)


def _view(
    database: duckdb.DuckDBPyConnection, store: LakeStore, dataset: str, files: Sequence[LakeFile]
) -> None:
    if not files:
        folders = [pa.field(name, kind) for name, kind in _PARTITIONS[dataset].items()]
        database.register(dataset, pa.schema([*_SCHEMAS[dataset], *folders]).empty_table())
        return
    database.read_parquet(_paths(database, store, files), hive_partitioning=True).create_view(dataset)


def _paths(database: duckdb.DuckDBPyConnection, store: LakeStore, files: Sequence[LakeFile]) -> list[str]:
    """Where DuckDB finds the files; an object store is read through the same client that wrote it."""
    if isinstance(store, LocalStore):
        return [str(store.root / file.path) for file in files]
    from pipelines.lake.objects import ObjectStore

    assert isinstance(store, ObjectStore)
    if not database.filesystem_is_registered(store.scheme):
        database.register_filesystem(store.filesystem())
    return [f"{store.url}/{file.path}" for file in files]


def _manifest(files: Sequence[LakeFile]) -> pa.Table:
    texts = ("path", "dataset", "exchange", "symbol", "sha256")
    numbers = ("rows", "bytes", "min_trade_id", "max_trade_id")
    times = ("min_timestamp", "max_timestamp")
    kinds: dict[str, pl.DataType] = {
        **dict.fromkeys(texts, pl.String()),
        **dict.fromkeys(numbers, pl.Int64()),
        **dict.fromkeys(times, pl.Datetime("us", "UTC")),
        "date": pl.Date(),
        "whole": pl.Boolean(),
    }
    schema = {name: kinds[name] for name in LakeFile.__struct_fields__}
    rows = [msgspec.structs.astuple(file) for file in files]
    return pl.DataFrame(rows, schema=schema, orient="row").to_arrow()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
