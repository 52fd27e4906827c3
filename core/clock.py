"""The clock port: nothing in this project reads the wall clock but an injected `Clock`."""

from typing import Protocol


class Clock(Protocol):
    """Milliseconds since the epoch, UTC. Live code is handed the exchange's clock."""

    def now_ms(self) -> int:
        """Current time in ms since 1970-01-01T00:00Z."""
        ...


class ManualClock:
    """A clock that stands still until told; for tests and for backtests."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Time as last set."""
        return self._now_ms

    def set(self, now_ms: int) -> None:
        """Jump to a time; going back is allowed, clocks do."""
        self._now_ms = now_ms
