"""The connection to PostgreSQL and the version of its schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.abc import Query
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import NullPool

from config.settings import settings
from core.errors import BadInput, Unavailable
from pipelines.warehouse.bounded import BoundedConnection

MIGRATIONS = Path(__file__).parent / "migrations"
CONNECT_TIMEOUT_S = 5
POOL_TIMEOUT_S = 10
"""Longest wait for a connection of the pool, when all are in use."""
SERVICE_ANSWER_S = 20
"""Longest wait of a service for a statement; below the half minute after which a bot counts as hung."""
ANSWER_GRACE_S = 3
"""How much later than the server the client gives a statement up."""
MIGRATION_LOCK = 7_205_001
"""Advisory lock that two processes migrating at once queue on."""


_KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
"""A server whose machine is gone is noticed within half a minute, not after two hours."""
_SERVER_PROBES = {
    "tcp_keepalives_idle": "3",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}
SERVER_KEEPALIVE = {**_SERVER_PROBES, "tcp_user_timeout": "6000"}
"""The server looks as well: a session of a machine that is gone ends in 6 s, with the locks it holds, so that
whoever takes over on another machine waits for none of them. Who may take long over what it reads, as a day
of trades on its way into the lake, is only probed while nothing is sent: what it leaves unread is no sign."""

_PASSING = (
    "08",  # the connection
    "57",  # shut down, starting up, statement given up
    "53",  # out of disk, memory or connections
    "58",  # input and output failed
    "40",  # serialisation and deadlock
    "55P03",  # a lock was not to be had
    "25P",  # a transaction took too long
    "25006",  # read-only: a standby that is not promoted yet
)
"""Beginnings of the SQLSTATEs that time, or an administrator, cures."""


@cache
def engine(url: str, answer_s: int | None = None, tested: bool = True) -> Engine:
    """The process's pooled engine for that URL; connections are tested before use, so that a restarted server
    is noticed here and not in the middle of a page.

    tested: False leaves the test out, a round trip, for callers that repeat what fails as a whole
    answer_s: longest wait for a statement, for processes that must go on; the server gives it up by itself,
    and of one that hangs the connection is closed (OperationalError, see `is_outage`). None waits for ever.
    """
    options = "-c timezone=UTC"
    prepared = settings().prepared_statements
    if prepared:
        # A pooler that hands connections around would refuse the parameters.
        given = (
            _SERVER_PROBES if answer_s is None else {**SERVER_KEEPALIVE, "statement_timeout": f"{answer_s}s"}
        )
        # To compile a query of many short ranges takes as long as half of its answer.
        options += "".join(f" -c {name}={value}" for name, value in (given | {"jit": "off"}).items())
    arguments: dict[str, Any] = {**_KEEPALIVE, "connect_timeout": CONNECT_TIMEOUT_S, "options": options}
    if not prepared:
        arguments["prepare_threshold"] = None
    made = create_engine(
        url,
        pool_pre_ping=tested,
        hide_parameters=True,
        # None is closed for being one too many: a new one costs as much as a dozen reads.
        pool_size=settings().database_pool,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        connect_args=arguments,
    )
    if answer_s is not None:
        limit_s = answer_s + ANSWER_GRACE_S

        @event.listens_for(made, "do_connect")
        def bounded(_dialect: Any, _record: Any, args: Any, parameters: Any) -> BoundedConnection:
            connection = BoundedConnection.connect(*args, **parameters)
            connection.answer_s = limit_s
            return connection

    return made


def driver(connection: Connection) -> psycopg.Connection[Any]:
    """The psycopg connection inside; it is part of the same transaction."""
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


@contextmanager
def copying(connection: Connection, statement: Query) -> Iterator[psycopg.Copy]:
    """A COPY in the connection's transaction; its errors are SQLAlchemy's, as those of all statements."""
    try:
        with driver(connection).cursor() as cursor, cursor.copy(statement) as copy:
            yield copy
    except psycopg.Error as error:
        raise DBAPIError.instance(None, None, error, psycopg.Error) from error


def migrate(url: str) -> None:
    """Bring the schema to this version's; safe to call by several processes at once."""
    with _connected(url) as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
        try:
            _refuse_unknown(url, connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
        finally:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
            connection.commit()


def check_schema(url: str) -> None:
    """Raise BadInput, naming the remedy, when the schema is missing, older or newer than this version's."""
    with _connected(url) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        _refuse_unknown(url, connection)
    wanted = ScriptDirectory.from_config(_config()).get_current_head()
    if current != wanted:
        state = "has no schema yet" if current is None else f"has schema version {current}, not {wanted}"
        raise BadInput("database", f"{_shown(url)} {state}: run `tcp db migrate`")


def schema_versions(url: str) -> tuple[str | None, str]:
    """The schema version of the database (None: no schema yet) and this program's; BadInput where the
    database's is a newer program's."""
    with _connected(url) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        _refuse_unknown(url, connection)
    return current, str(ScriptDirectory.from_config(_config()).get_current_head())


def has_rows(url: str) -> bool:
    """Whether any table of the schema `public` holds a row, Alembic's own apart."""
    with _connected(url) as connection:
        quoted = connection.dialect.identifier_preparer.quote_identifier
        names = [name for name in inspect(connection).get_table_names() if name != "alembic_version"]
        probes = [f"SELECT EXISTS (SELECT 1 FROM {quoted(name)})" for name in names]  # noqa: S608
        return any(connection.scalar(text(probe)) for probe in probes)


def is_outage(error: DBAPIError) -> bool:
    """Whether the server is away (or going), and not the statement or the data wrong."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state is None:
        return isinstance(error, OperationalError | InterfaceError)
    return state.startswith(_PASSING)


def _refuse_unknown(url: str, connection: Connection) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in known:
        raise BadInput(
            "database",
            f"{_shown(url)} has schema version {current}, made by a newer version of this program: "
            "update the program or use another database",
        )


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """A connection of its own, never pooled; Unavailable when the server does not answer, or goes away."""
    own = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_TIMEOUT_S})
    try:
        with own.connect() as connection:
            yield connection
    except DBAPIError as error:
        if not is_outage(error):
            raise
        reason = str(error.orig).strip().splitlines()[0]
        raise Unavailable(f"PostgreSQL at {_shown(url)} does not answer: {reason}") from None


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
