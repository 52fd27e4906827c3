"""Frames that one of several sockets brought before: the others bring the same bytes, which say the same."""

from collections.abc import Sequence

from core.trades import Trade

KEPT_FRAMES = 5_000
"""Seconds of a busy market, and sockets are milliseconds apart. What comes later still is decoded again."""


class Decoded:
    """The trades of the newest frames, by their bytes, for the codecs of parallel sockets in one thread."""

    def __init__(self, kept: int = KEPT_FRAMES) -> None:
        self._kept = kept
        # Two generations: when the newer one is full the older one is forgotten.
        self._new: dict[bytes, Sequence[Trade]] = {}
        self._old: dict[bytes, Sequence[Trade]] = {}

    def get(self, frame: bytes) -> Sequence[Trade] | None:
        """Its trades; None when nobody brought it lately."""
        return self._new.get(frame) or self._old.get(frame)

    def keep(self, frame: bytes, trades: Sequence[Trade]) -> None:
        """Remember what it says."""
        if len(self._new) >= self._kept:
            self._old, self._new = self._new, {}
        self._new[frame] = trades
