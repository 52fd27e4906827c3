"""Archived trades as frames, for the path inside candles."""

from datetime import UTC, datetime, timedelta

import polars as pl
from sqlalchemy import Engine

from core.errors import Unavailable
from pipelines.lake.days import ids_once
from pipelines.lake.files import RAW_TRADES
from pipelines.lake.store import LakeStore, open_store
from pipelines.warehouse.lake_files import find_files
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.trade_frames import SCHEMA, read_trades

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_all_trades(
    engine: Engine, lake_url: str, symbol: str, start_ms: int, end_ms: int, exchange: str | None = None
) -> pl.DataFrame:
    """timestamp, trade_id, price, size of the trades in [start_ms, end_ms), oldest first: those of the
    database and those of archived days, each match once, alone or inside an aggregate.

    exchange: None is the one in force. Floats: never for money. Unavailable when a file of the manifest is
    not there.
    """
    stored = read_trades(engine, symbol, start_ms, end_ms, exchange)
    start, end = (_EPOCH + timedelta(milliseconds=at_ms) for at_ms in (start_ms, end_ms))
    with engine.connect() as connection:
        files = find_files(connection, RAW_TRADES, exchange or EXCHANGE, symbol)
    wanted = [file.path for file in files if file.min_timestamp < end and file.max_timestamp >= start]
    if not wanted:
        return stored.drop("count")
    store = open_store(lake_url)
    archived = pl.concat(_read(store, path) for path in wanted).filter(
        pl.col("timestamp").is_between(start, end, closed="left")
    )
    if stored.height:
        both = pl.concat([archived, stored])
        archived = both[ids_once(both["trade_id"].to_numpy(), both["count"].to_numpy())]
    return archived.drop("count").sort("timestamp", "trade_id")


def _read(store: LakeStore, path: str) -> pl.DataFrame:
    try:
        with store.local(path) as local:
            frame = pl.read_parquet(local, columns=list(SCHEMA), hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise Unavailable(f"{path} of the lake cannot be read: {reason}; see `tcp data verify`") from None
    return frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
