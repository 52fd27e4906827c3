"""Errors of the database, told apart: those that time cures, and those that somebody has to."""

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from pipelines.warehouse.database import is_outage


def is_away(error: Exception) -> bool:
    """Whether the database's server is away, or so slow that every connection is in use."""
    return isinstance(error, PoolTimeout) or (isinstance(error, DBAPIError) and is_outage(error))


def said(error: SQLAlchemyError) -> str:
    """What it says, in one line, without the statement."""
    told = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(told).strip().partition("\n")[0]


def fault(error: Exception) -> str:
    """What somebody has to do something about, in one line."""
    if isinstance(error, SQLAlchemyError):
        return f"the database refuses what is to be stored: {said(error)}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
