"""Times between Python (integer ms) and SQL (timestamptz), and the exchange's name."""

from datetime import UTC, datetime, timedelta

EXCHANGE = "okx"
"""The `exchange` column of everything that came from OKX, the simulated one included."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_datetime(at_ms: int) -> datetime:
    """The instant `at_ms` (ms since the epoch), exact."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def to_ms(at: datetime) -> int:
    """Ms since the epoch of an aware datetime; parts of a millisecond are cut."""
    return (at - _EPOCH) // timedelta(milliseconds=1)
