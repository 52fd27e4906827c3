"""A day of raw_trades out of Postgres, exactly, and its removal once it is safe elsewhere."""

import io
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.csv as pa_csv
from psycopg import sql
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from core.timeframes import Timeframe
from pipelines.warehouse.database import copying
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.trades import partition_name

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
_MICROSECONDS = "(extract(epoch FROM {}) * 1000000)::bigint"
_DAY = sql.SQL(
    "COPY (SELECT trade_id, " + _MICROSECONDS.format("timestamp") + ", price, size, side, count, source, "
    + _MICROSECONDS.format("received_at")
    + " FROM raw_trades WHERE exchange = {exchange} AND symbol = {symbol}"
    " AND timestamp >= {start} AND timestamp < {end} ORDER BY timestamp, trade_id) TO STDOUT (FORMAT csv)"
)  # fmt: skip
_CANDLES = sql.SQL(
    "COPY (SELECT " + _MICROSECONDS.format("timestamp") + ", open, high, low, close, volume, trades_count,"
    " source, revision FROM market_data WHERE exchange = {exchange} AND symbol = {symbol}"
    " AND timeframe = {timeframe} AND timestamp > {start} AND timestamp <= {end} {only} ORDER BY timestamp)"
    " TO STDOUT (FORMAT csv)"
)  # fmt: skip
_ALL = sql.SQL("")
_DELETE = text(
    "DELETE FROM raw_trades WHERE exchange = :exchange AND symbol = :symbol "
    "AND timestamp >= :start AND timestamp < :end"
)
# A probe a day: partitions are days, and are named after them.
_DAYS = text("""
    SELECT day FROM (
        SELECT to_date(right(child.relname, 8), 'YYYYMMDD') AS day
        FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = CAST('public.raw_trades' AS regclass)
    ) AS partitions
    WHERE EXISTS (
        SELECT 1 FROM raw_trades WHERE exchange = :exchange AND symbol = :symbol
          AND timestamp >= day::timestamp AT TIME ZONE 'UTC'
          AND timestamp < (day + 1)::timestamp AT TIME ZONE 'UTC'
    ) ORDER BY day
""")
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


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """Begin and end of a UTC day."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return start, start + timedelta(days=1)


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


def stored_days(connection: Connection, symbol: str) -> list[date]:
    """UTC days of which raw_trades holds anything, oldest first."""
    rows = connection.execute(_DAYS, {"exchange": EXCHANGE, "symbol": symbol})
    return [row.day for row in rows]


def traded_symbols(connection: Connection) -> list[str]:
    """Symbols with anything in raw_trades."""
    rows = connection.execute(_SYMBOLS, {"exchange": EXCHANGE})
    return [row.symbol for row in rows]


def delete_trades_of_day(connection: Connection, symbol: str, day: date) -> int:
    """Remove a day's trades of one symbol in the caller's transaction; returns their number."""
    start, end = day_bounds(day)
    parameters = {"exchange": EXCHANGE, "symbol": symbol, "start": start, "end": end}
    return connection.execute(_DELETE, parameters).rowcount


def drop_empty_partition(connection: Connection, day: date) -> bool:
    """Remove the partition of that day when no symbol has trades in it, in the caller's transaction.

    It needs a lock that waits for every writer; after two seconds it gives up and the empty partition stays
    until the next time. Returns whether it is gone.
    """
    name = partition_name(int(day_bounds(day)[0].timestamp() * 1000))
    exists = "SELECT 1 FROM pg_class WHERE relname = :name AND relispartition"
    if connection.execute(text(exists), {"name": name}).first() is None:
        return True
    try:
        with connection.begin_nested():
            connection.execute(text("SET LOCAL lock_timeout = '2s'"))
            connection.execute(text("LOCK TABLE raw_trades IN ACCESS EXCLUSIVE MODE"))
            if connection.execute(text(f"SELECT 1 FROM {name} LIMIT 1")).first() is not None:
                return False
            connection.execute(text(f"DROP TABLE {name}"))
    except OperationalError:
        return False
    return True


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
