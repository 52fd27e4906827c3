"""How many rows each table has at one moment, and the same moment for `pg_dump`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from core.errors import Unavailable

# Partitions are counted each, their parent has no rows of its own; a hypertable is counted with its chunks,
# and TimescaleDB's bookkeeping is left out. Alembic's table counts as every other.
_TABLES = text("""
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname !~ '^(pg_|_?timescaledb_|information_schema$)'
    ORDER BY 1
""")


class Moment:
    """The database as it was when this began, however long its reader takes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.snapshot = str(connection.scalar(text("SELECT pg_export_snapshot()")))

    def rows(self) -> Mapping[str, int]:
        """`schema.table` → its rows. Reads every table."""
        names = self._connection.scalars(_TABLES).all()
        return {
            str(name): int(self._connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0)  # noqa: S608
            for name in names  # quoted by the server
        }


@contextmanager
def moment(url: str) -> Iterator[Moment]:
    """A moment of the database, which other sessions can take too by its `snapshot` while the block runs."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="REPEATABLE READ")
    try:
        with engine.connect() as connection:
            yield Moment(connection)
    except DBAPIError as error:
        raise Unavailable(f"the database cannot be read: {str(error.orig).splitlines()[0]}") from None
