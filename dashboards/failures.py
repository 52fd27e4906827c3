"""What failed, in one line for a person: a driver's text has many, with links and statements in them."""

from sqlalchemy.exc import DataError, OperationalError, SQLAlchemyError

from core.errors import TcpError


def cause(error: BaseException | str) -> str:
    """First line of what is wrong; of a database's error the driver's own."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else "no reason given"


def told(error: BaseException) -> str:
    """The cause, and what it is about where its words alone do not say so."""
    if isinstance(error, TcpError):
        return cause(error)
    if isinstance(error, DataError):
        return f"a value is none that is stored: {cause(error)}"
    if isinstance(error, OperationalError):
        return f"the database does not answer: {cause(error)}"
    if isinstance(error, SQLAlchemyError):
        return f"the database refused: {cause(error)}"
    return f"{type(error).__name__}: {cause(error)}; the dashboard's log has more"
