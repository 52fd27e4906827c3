"""The connection to PostgreSQL and the version of its schema."""

from functools import cache
from pathlib import Path
from typing import Any, cast

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import NullPool

from core.errors import BadInput, Unavailable

MIGRATIONS = Path(__file__).parent / "migrations"
CONNECT_TIMEOUT_S = 5
MIGRATION_LOCK = 7_205_001
"""Advisory lock that two processes migrating at once queue on."""


@cache
def engine(url: str) -> Engine:
    """The process's pooled engine for that URL; connections are tested before use, so that a restarted server
    is noticed here and not in the middle of a page."""
    return create_engine(
        url,
        pool_pre_ping=True,
        hide_parameters=True,
        pool_size=5,
        max_overflow=10,
        connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": "-c timezone=UTC"},
    )


def driver(connection: Connection) -> psycopg.Connection[Any]:
    """The psycopg connection inside, for COPY; it is part of the same transaction."""
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def migrate(url: str) -> None:
    """Bring the schema to this version's; safe to call by several processes at once."""
    with _connect(url) as connection:
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
    with _connect(url) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        _refuse_unknown(url, connection)
    wanted = ScriptDirectory.from_config(_config()).get_current_head()
    if current != wanted:
        state = "has no schema yet" if current is None else f"has schema version {current}, not {wanted}"
        raise BadInput("database", f"{_shown(url)} {state}: run `tcp db migrate`")


def is_outage(error: DBAPIError) -> bool:
    """Whether the server is away (or going), and not the statement or the data wrong."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state is None:
        return isinstance(error, OperationalError | InterfaceError)
    # 08: connection; 57P: shut down; 53: out of resources; 40: serialisation and deadlock
    return state.startswith(("08", "57P", "53", "40"))


def _refuse_unknown(url: str, connection: Connection) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in known:
        raise BadInput(
            "database",
            f"{_shown(url)} has schema version {current}, made by a newer version of this program: "
            "update the program or use another database",
        )


def _connect(url: str) -> Connection:
    """A connection of its own, never pooled; Unavailable when the server does not answer."""
    own = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_TIMEOUT_S})
    try:
        return own.connect()
    except OperationalError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise Unavailable(f"PostgreSQL at {_shown(url)} does not answer: {reason}") from None


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
