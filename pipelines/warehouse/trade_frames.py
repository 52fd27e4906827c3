"""Stored trades as frames, for the path inside candles."""

import polars as pl
from psycopg import sql
from sqlalchemy import Engine

from pipelines.warehouse.database import copying
from pipelines.warehouse.sql import EXCHANGE

SCHEMA: dict[str, pl.DataType] = {
    "timestamp": pl.Datetime("us", "UTC"),
    "trade_id": pl.Int64(),
    "price": pl.Float64(),
    "size": pl.Float64(),
    "count": pl.Int32(),
}
_COPIED = SCHEMA | {"timestamp": pl.Int64()}
_READ = sql.SQL(
    """COPY (
        SELECT (extract(epoch FROM timestamp) * 1000000)::bigint, trade_id, price, size, count FROM raw_trades
        WHERE exchange = {exchange} AND symbol = {symbol}
          AND timestamp >= to_timestamp({start} / 1000.0) AND timestamp < to_timestamp({end} / 1000.0)
        ORDER BY timestamp, trade_id
    ) TO STDOUT (FORMAT csv)"""
)


def read_trades(
    engine: Engine, symbol: str, start_ms: int, end_ms: int, exchange: str | None = None
) -> pl.DataFrame:
    """timestamp, trade_id, price, size, count of the trades in [start_ms, end_ms) that the database still
    holds, oldest first; exchange: None is the one in force. Floats: never for money."""
    query = _READ.format(exchange=exchange or EXCHANGE, symbol=symbol, start=start_ms, end=end_ms)
    with engine.connect() as connection, copying(connection, query) as copy:
        text = b"".join(copy)
    frame = pl.read_csv(text, has_header=False, new_columns=list(_COPIED), schema=_COPIED)
    return frame.with_columns(pl.from_epoch("timestamp", time_unit="us").dt.replace_time_zone("UTC"))
