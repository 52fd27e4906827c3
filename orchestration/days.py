"""Partitions as stretches of time: what a run was asked for, in as few pieces as it can be fetched in."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, order=True)
class Stretch:
    """The UTC days `first` to `last`, both included, of one symbol."""

    symbol: str
    first: date
    last: date

    @property
    def start_ms(self) -> int:
        """00:00 of the first day, ms since the epoch."""
        return (self.first - _EPOCH).days * DAY_MS

    @property
    def end_ms(self) -> int:
        """24:00 of the last day, ms since the epoch."""
        return (self.last - _EPOCH).days * DAY_MS + DAY_MS

    @property
    def days(self) -> int:
        """How many days."""
        return (self.last - self.first).days + 1

    def midnights(self) -> Iterator[tuple[date, int]]:
        """Each day with its 00:00, ms since the epoch."""
        for number in range(self.days):
            yield self.first + timedelta(days=number), self.start_ms + number * DAY_MS


def stretches(partitions: Iterable[Mapping[str, str]]) -> list[Stretch]:
    """Partitions ({"date": "2026-11-20", "symbol": "BTC-USDT"}), in any order, joined where days follow each
    other; by symbol, oldest first."""
    days = sorted({(keys["symbol"], date.fromisoformat(keys["date"])) for keys in partitions})
    joined: list[Stretch] = []
    for symbol, day in days:
        before = joined[-1] if joined else None
        if before and before.symbol == symbol and before.last + timedelta(days=1) == day:
            joined[-1] = Stretch(symbol, before.first, day)
        else:
            joined.append(Stretch(symbol, day, day))
    return joined


def day_before(at: datetime) -> date:
    """The last whole UTC day at an instant."""
    return at.astimezone(UTC).date() - timedelta(days=1)
