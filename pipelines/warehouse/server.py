"""The PostgreSQL server itself: does it answer, which databases has it."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from core.errors import Unavailable


def check_answers(url: str, timeout_s: int = 5) -> None:
    """Connect and ask; Unavailable, with the reason in one line and no password, when that fails."""
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": timeout_s})
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except DBAPIError as error:
        shown = make_url(url).render_as_string(hide_password=True)
        lines = str(error.orig).strip().splitlines() or ["no reason given"]
        raise Unavailable(f"PostgreSQL at {shown} does not answer: {lines[0]}") from None


def answers(url: str, timeout_s: int = 2) -> bool:
    """Whether it takes connections now."""
    try:
        check_answers(url, timeout_s)
    except Unavailable:
        return False
    return True


def takes_writes(url: str, timeout_s: int = 2) -> bool:
    """Whether it answers and is no longer recovering."""
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": timeout_s})
    try:
        with engine.connect() as connection:
            return connection.scalar(text("SELECT pg_is_in_recovery()")) is False
    except DBAPIError:
        return False


def ensure_database(url: str, name: str) -> str:
    """Create database `name` beside the one of `url` if it is missing; returns its URL."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    quoted = engine.dialect.identifier_preparer.quote_identifier(name)
    with engine.connect() as connection:
        known = text("SELECT 1 FROM pg_database WHERE datname = :name")
        if connection.execute(known, {"name": name}).first() is None:
            try:
                connection.execute(text(f"CREATE DATABASE {quoted}"))
            except DBAPIError:  # another process was faster
                if connection.execute(known, {"name": name}).first() is None:
                    raise
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@contextmanager
def new_database(url: str, name: str) -> Iterator[str]:
    """An empty database beside the one of `url`, made anew; dropped at the end if it still has that name."""
    with _administering(url) as connection:
        quoted = connection.dialect.identifier_preparer.quote_identifier(name)
        connection.execute(text(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {quoted} TEMPLATE template0"))
    try:
        yield name
    finally:
        with _administering(url) as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)"))


@contextmanager
def hypertables_restored(url: str) -> Iterator[None]:
    """TimescaleDB takes the rows of a backup as they come inside, its own bookkeeping included."""
    for statement in ("CREATE EXTENSION IF NOT EXISTS timescaledb", "SELECT timescaledb_pre_restore()"):
        with _administering(url) as connection:
            connection.execute(text(statement))
    yield
    with _administering(url) as connection:
        connection.execute(text("SELECT timescaledb_post_restore()"))


def take_place(url: str, name: str) -> None:
    """Database `name` becomes the one of `url`, which is dropped; who is connected to either is sent away."""
    target = make_url(url)
    elsewhere = target.set(database="template1" if target.database == "postgres" else "postgres")
    with _administering(elsewhere.render_as_string(hide_password=False)) as connection:
        quote = connection.dialect.identifier_preparer.quote_identifier
        old, new, aside = (quote(each) for each in (str(target.database), name, f"{target.database}_before"))
        connection.execute(text(f"DROP DATABASE IF EXISTS {aside} WITH (FORCE)"))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(:names)"),
            {"names": [target.database, name]},
        )
        # One statement, one transaction: there is no moment without the database.
        renamed = f"ALTER DATABASE {old} RENAME TO {aside}; ALTER DATABASE {new} RENAME TO {old}"
        connection.exec_driver_sql(f"DO $$ BEGIN {renamed}; END $$")
        connection.execute(text(f"DROP DATABASE {aside} WITH (FORCE)"))


@contextmanager
def _administering(url: str) -> Iterator[Connection]:
    """A connection of its own without transactions; Unavailable with the server's first line."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        lines = str(error.orig).strip().splitlines() or ["no reason given"]
        raise Unavailable(f"PostgreSQL: {lines[0]}") from None
