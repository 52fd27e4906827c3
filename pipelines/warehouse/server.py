"""The PostgreSQL server itself: does it answer, which databases has it."""

from sqlalchemy import create_engine, text
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
