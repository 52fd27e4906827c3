"""How far another machine's clock is from ours, proven by its answers."""

from collections import deque

import msgspec

WINDOW = 16
"""Answers looked at: a quarter of a minute, in which two quartz clocks drift apart by less than 1 ms."""
FEWEST = 2
"""Answers that must agree before the other clock counts as one that runs as ours does."""


class Offset(msgspec.Struct, frozen=True):
    """What the other clock shows minus what ours does, in ms. uncertainty_ms: it is at most that much wrong,
    however unevenly the way there and back took; round_trip_ms: the shortest one; answers: that agree."""

    offset_ms: float
    uncertainty_ms: float
    round_trip_ms: float
    answers: int


class OffsetWindow:
    """Each answer says: at some moment between asking and hearing, their clock showed that millisecond. So
    the offset lies in an interval as long as the round trip, and in all of those intervals at once: the
    quickest answers decide, a slow one harms nothing."""

    def __init__(self, window: int = WINDOW) -> None:
        self._answers: deque[tuple[float, float]] = deque(maxlen=window)

    def add(self, theirs_ms: int, asked_s: float, answered_s: float) -> None:
        """They said `theirs_ms`, between `asked_s` and `answered_s` of our clock."""
        # The last part: their millisecond is cut off, not rounded.
        self._answers.append((theirs_ms - answered_s * 1000, theirs_ms + 1 - asked_s * 1000))

    def estimate(self) -> Offset | None:
        """From the newest answers that agree; None when even the last two do not: their clock jumped, or runs
        at another speed, as that of a simulation may."""
        low, high = float("-inf"), float("inf")
        shortest, agreeing = float("inf"), 0
        for lowest, highest in reversed(self._answers):
            if max(low, lowest) > min(high, highest):
                break
            low, high = max(low, lowest), min(high, highest)
            shortest = min(shortest, highest - lowest - 1)
            agreeing += 1
        if agreeing < FEWEST:
            return None
        return Offset((low + high) / 2, (high - low) / 2, shortest, agreeing)
