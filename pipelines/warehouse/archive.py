"""A day of raw trades, or a month of candles, out of Postgres, exactly; and the rows' removal."""

import io
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.csv as pa_csv
from psycopg import sql
from sqlalchemy import Connection, text

from core.timeframes import Timeframe
from pipelines.warehouse.database import copying
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.trade_days import day_bounds

MONEY = pa.decimal128(38, 18)
TIME = pa.timestamp("us", "UTC")
TRADES_SCHEMA = pa.schema(
    [
        pa.field("trade_id", pa.int64(), nullable=False),
        pa.field("timestamp", TIME, nullable=False),
        pa.field("price", MONEY, nullable=False),
        pa.field("size", MONEY, nullable=False),
        pa.field("side", pa.string(), nullable=False),
        pa.field("count", pa.int32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("received_at", TIME, nullable=False),
    ]
)
CANDLES_SCHEMA = pa.schema(
    [
        pa.field("timestamp", TIME, nullable=False),
        *(pa.field(name, MONEY, nullable=False) for name in ("open", "high", "low", "close", "volume")),
        pa.field("trades_count", pa.int32(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("revision", pa.int32(), nullable=False),
    ]
)
_DAY = sql.SQL("""
    COPY (SELECT trade_id, (extract(epoch FROM timestamp) * 1000000)::bigint, price, size, side, count,
                 source, (extract(epoch FROM received_at) * 1000000)::bigint
          FROM raw_trades WHERE exchange = {exchange} AND symbol = {symbol}
            AND timestamp >= {start} AND timestamp < {end} ORDER BY timestamp, trade_id)
    TO STDOUT (FORMAT csv)
""")
_CANDLES = sql.SQL("""
    COPY (SELECT (extract(epoch FROM timestamp) * 1000000)::bigint, open, high, low, close, volume,
                 trades_count, source, revision
          FROM market_data WHERE exchange = {exchange} AND symbol = {symbol} AND timeframe = {timeframe}
            AND timestamp > {start} AND timestamp <= {end} {only} ORDER BY timestamp)
    TO STDOUT (FORMAT csv)
""")
_ALL = sql.SQL("")
_DELETE = text(
    "DELETE FROM raw_trades WHERE exchange = :exchange AND symbol = :symbol "
    "AND timestamp >= :start AND timestamp < :end"
)
# A probe a symbol.
_SYMBOLS = text("""
    WITH RECURSIVE found AS (
        (SELECT symbol FROM raw_trades WHERE exchange = :exchange ORDER BY symbol LIMIT 1)
        UNION ALL
        SELECT (SELECT symbol FROM raw_trades WHERE exchange = :exchange AND symbol > found.symbol
                ORDER BY symbol LIMIT 1)
        FROM found WHERE found.symbol IS NOT NULL
    )
    SELECT symbol FROM found WHERE symbol IS NOT NULL ORDER BY symbol
""")


def read_trades_of_day(connection: Connection, symbol: str, day: date) -> pa.Table:
    """All stored trades of a UTC day as TRADES_SCHEMA, sorted by (timestamp, trade_id); decimals exact."""
    start, end = day_bounds(day)
    query = _DAY.format(exchange=EXCHANGE, symbol=symbol, start=start, end=end)
    return _copied(connection, query, TRADES_SCHEMA)


def read_candles_of_month(connection: Connection, symbol: str, timeframe: Timeframe, first: date) -> pa.Table:
    """All stored candles that open in the UTC month beginning at `first` as CANDLES_SCHEMA, sorted by their
    close time; decimals exact."""
    start, _ = day_bounds(first)
    following, _ = day_bounds((first + timedelta(days=31)).replace(day=1))
    return _candles(connection, symbol, timeframe, start, following)


def read_minutes_of_day(connection: Connection, symbol: str, day: date) -> pa.Table:
    """The stored 1m candles of a UTC day that claim to hold all of their trades, as `read_candles_of_month`
    has them; provisional and synthetic ones do not."""
    start, end = day_bounds(day)
    only = sql.SQL("AND NOT provisional AND source <> 'synthetic'")
    return _candles(connection, symbol, Timeframe.M1, start, end, only)


def traded_symbols(connection: Connection) -> list[str]:
    """Symbols with anything in raw_trades."""
    rows = connection.execute(_SYMBOLS, {"exchange": EXCHANGE})
    return [row.symbol for row in rows]


def delete_trades_of_day(connection: Connection, symbol: str, day: date) -> int:
    """Remove a day's trades of one symbol in the caller's transaction; returns their number."""
    start, end = day_bounds(day)
    parameters = {"exchange": EXCHANGE, "symbol": symbol, "start": start, "end": end}
    return connection.execute(_DELETE, parameters).rowcount


def _candles(
    connection: Connection,
    symbol: str,
    timeframe: Timeframe,
    start: datetime,
    end: datetime,
    only: sql.SQL = _ALL,
) -> pa.Table:
    """Stored candles with a close time in (start, end]."""
    query = _CANDLES.format(
        exchange=EXCHANGE, symbol=symbol, timeframe=timeframe.value, start=start, end=end, only=only
    )
    return _copied(connection, query, CANDLES_SCHEMA)


def _copied(connection: Connection, query: sql.Composed, schema: pa.Schema) -> pa.Table:
    """The result of a COPY … TO STDOUT (FORMAT csv) whose times are integer microseconds."""
    buffer = io.BytesIO()
    with copying(connection, query) as copy:
        for block in copy:
            buffer.write(block)
    if not buffer.tell():
        return schema.empty_table()
    buffer.seek(0)
    # Times travel as integers: text would have to be parsed, and loses nothing only if printed in full.
    types = {field.name: pa.int64() if field.type == TIME else field.type for field in schema}
    table = pa_csv.read_csv(
        buffer,
        read_options=pa_csv.ReadOptions(column_names=schema.names),
        convert_options=pa_csv.ConvertOptions(column_types=types),
    )
    return table.cast(schema)
