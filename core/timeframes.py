"""Timeframes: their names, their lengths, and where their candles begin and end (days are UTC)."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum

from core.errors import BadInput

EARLIEST = datetime.min.replace(tzinfo=UTC) + timedelta(days=1)
"""Times from here to `LATEST` can be moved by a time zone or a candle and are still times."""
LATEST = datetime.max.replace(tzinfo=UTC) - timedelta(days=2)

_UNIT_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Timeframe(StrEnum):
    """The length of a candle. Boundaries are multiples of it since the epoch, so days are UTC days."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @property
    def ms(self) -> int:
        """Length in milliseconds."""
        return int(self.value[:-1]) * _UNIT_MS[self.value[-1]]

    def open_ms(self, at_ms: int) -> int:
        """Open time of the candle that holds the instant `at_ms`."""
        return at_ms - at_ms % self.ms

    def close_ms(self, at_ms: int) -> int:
        """Close time (the label) of the candle that holds the instant `at_ms`."""
        return at_ms - at_ms % self.ms + self.ms

    @classmethod
    def parse(cls, text: str, field: str = "timeframe") -> "Timeframe":
        """The timeframe of that name; BadInput lists the known ones."""
        try:
            return cls(text)
        except ValueError:
            raise BadInput(field, f"{text!r} is not one of {', '.join(cls)}") from None
