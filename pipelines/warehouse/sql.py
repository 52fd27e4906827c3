"""Times between Python (integer ms) and SQL (timestamptz), and the exchange's name."""

from datetime import UTC, datetime, timedelta

from config.settings import settings

EXCHANGE = settings().exchange_name
"""The `exchange` column of all that this process reads and writes: okx, the simulated one included, or ccxt's
name. A database may hold several exchanges side by side; a process works with one, from its start to its end.
"""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_datetime(at_ms: int) -> datetime:
    """The instant `at_ms` (ms since the epoch), exact."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def storable(words: str) -> str:
    """Words as a column of text takes them: NUL, and bytes of a name that are no characters, as escapes."""
    return words.replace("\0", "\\x00").encode(errors="backslashreplace").decode()


def to_ms(at: datetime) -> int:
    """Ms since the epoch of an aware datetime; parts of a millisecond are cut."""
    return (at - _EPOCH) // timedelta(milliseconds=1)
