"""The days of raw_trades: native partitions, or chunks of a hypertable where TimescaleDB keeps the table.

Which of the two, the migration decided when the database was new; each connection asks once.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from pipelines.warehouse.sql import EXCHANGE

DAY_MS = 86_400_000
PARTITION_LOCK = 7_205_002
"""Advisory lock of creating partitions: CREATE … IF NOT EXISTS alone is not safe against itself."""

_KNOWN = "raw_trades is a hypertable"
# A partitioned table has no storage of its own (p); a hypertable is a table as any other, with children.
_IS_HYPERTABLE = text("SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass('public.raw_trades')")
_PARTITIONS = """
    SELECT to_date(right(child.relname, 8), 'YYYYMMDD') AS day, child.oid::regclass::text AS name
    FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
    WHERE inhparent = CAST('public.raw_trades' AS regclass)
"""
_CHUNKS = """
    SELECT (range_start AT TIME ZONE 'UTC')::date AS day, format('%I.%I', chunk_schema, chunk_name) AS name
    FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'raw_trades'
"""
_DROP_CHUNK = text("SELECT drop_chunks('public.raw_trades', older_than => :end, newer_than => :start)")


def in_chunks(connection: Connection) -> bool:
    """Whether raw_trades is a hypertable."""
    if _KNOWN not in connection.info:
        connection.info[_KNOWN] = bool(connection.scalar(_IS_HYPERTABLE))
    return bool(connection.info[_KNOWN])


def day_bounds(day: date) -> tuple[datetime, datetime]:
    """Begin and end of a UTC day."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return start, start + timedelta(days=1)


def ensure_partitions(connection: Connection, first_ms: int, last_ms: int) -> None:
    """Create the missing days of raw_trades, from the day of `first_ms` to that of `last_ms`. Chunks need
    none: TimescaleDB makes them as rows come, under a lock that delays neither readers nor other writers."""
    ensure_days(connection, range(first_ms - first_ms % DAY_MS, last_ms + 1, DAY_MS))


def ensure_days(connection: Connection, days_ms: Sequence[int]) -> None:
    """The same for single days, each given by its first ms."""
    if in_chunks(connection):
        return
    days = {_partition_name(day_ms): datetime.fromtimestamp(day_ms // 1000, UTC) for day_ms in days_ms}
    known = connection.execute(
        text("SELECT relname FROM pg_class WHERE relname = ANY(:names) AND relispartition"),
        {"names": list(days)},
    )
    missing = days.keys() - set(known.scalars())
    if not missing:
        return
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": PARTITION_LOCK})
    for name in sorted(missing):
        # Attaching an empty table does not wait for who reads raw_trades; CREATE … PARTITION OF would.
        if connection.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar() is None:
            start, end = days[name], days[name] + timedelta(days=1)
            connection.execute(text(f"CREATE TABLE {name} (LIKE raw_trades INCLUDING DEFAULTS)"))
            connection.execute(
                text(
                    f"ALTER TABLE raw_trades ATTACH PARTITION {name} "
                    f"FOR VALUES FROM ('{start:%Y-%m-%d}+00') TO ('{end:%Y-%m-%d}+00')"
                )
            )


def made_days(connection: Connection) -> list[date]:
    """UTC days that raw_trades has a partition or a chunk for, oldest first."""
    return sorted(_tables(connection))


def stored_days(connection: Connection, symbol: str) -> list[date]:
    """UTC days of which raw_trades holds anything of the symbol, oldest first; a probe a day."""
    listed = _CHUNKS if in_chunks(connection) else _PARTITIONS
    # A scalar subquery is asked for each day; EXISTS may become a join that reads every trade.
    query = f"""
        SELECT day FROM ({listed}) AS tables WHERE (
            SELECT true FROM raw_trades WHERE exchange = :exchange AND symbol = :symbol
              AND timestamp >= day::timestamp AT TIME ZONE 'UTC'
              AND timestamp < (day + 1)::timestamp AT TIME ZONE 'UTC' LIMIT 1
        ) ORDER BY day
    """  # noqa: S608 - one of the two constants above
    return list(connection.execute(text(query), {"exchange": EXCHANGE, "symbol": symbol}).scalars())


def drop_empty_day(connection: Connection, day: date) -> bool:
    """Remove the partition or chunk of that day when no symbol has trades in it, in the caller's transaction:
    one that has read nothing yet, or that is READ COMMITTED.

    It needs a lock that waits for every writer; after two seconds it gives up and the empty day stays
    until the next time. Returns whether it is gone.
    """
    try:
        with connection.begin_nested():
            connection.execute(text("SET LOCAL lock_timeout = '2s'"))
            # Before any look: a snapshot older than the lock does not show what a writer commits meanwhile.
            connection.execute(text("LOCK TABLE raw_trades IN ACCESS EXCLUSIVE MODE"))
            name = _tables(connection).get(day)
            if name is None:
                return True
            holds = text(f"SELECT 1 FROM {name} LIMIT 1")  # noqa: S608 - as the server has quoted it
            if connection.execute(holds).first() is not None:
                return False
            if in_chunks(connection):
                start, end = day_bounds(day)
                connection.execute(_DROP_CHUNK, {"start": start, "end": end})
            else:
                connection.execute(text(f"DROP TABLE {name}"))
    except OperationalError:
        return False
    return True


def _tables(connection: Connection) -> dict[date, str]:
    """Day → the table that holds it."""
    listed = _CHUNKS if in_chunks(connection) else _PARTITIONS
    return {row.day: row.name for row in connection.execute(text(listed))}


def _partition_name(day_ms: int) -> str:
    """raw_trades_20261120."""
    return f"raw_trades_{datetime.fromtimestamp(day_ms // 1000, UTC):%Y%m%d}"
