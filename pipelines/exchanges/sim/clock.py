"""The virtual clock of the simulated exchange, and the file that keeps it over restarts."""

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Speed = float | Literal["max"]


class VirtualClock:
    """virtual = start + (wall − wall at start) × speed; at speed "max" it stands where it was last put."""

    def __init__(self, start_ms: int, speed: Speed, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.speed = speed
        self._monotonic = monotonic
        self._start_ms = start_ms
        self._started = monotonic()

    def now_ms(self) -> int:
        """Exchange time, ms since the epoch, UTC."""
        if self.speed == "max":
            return self._start_ms
        return self._start_ms + int((self._monotonic() - self._started) * 1000 * self.speed)

    def advance_to(self, now_ms: int) -> None:
        """Put a clock of speed "max" forward; others run by themselves, and none goes back."""
        if self.speed == "max":
            self._start_ms = max(self._start_ms, now_ms)


class ClockFile:
    """The highest virtual time that may have been shown, so that a restart never goes behind it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> int | None:
        """The saved time in ms; None when there is none or the file is torn."""
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            return int(json.loads(self._path.read_text())["virtual_ms"])
        return None

    def save(self, virtual_ms: int) -> None:
        """Replace the saved time; a reader sees the old or the new one, never half of it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_name(self._path.name + ".new")
        new.write_text(json.dumps({"virtual_ms": virtual_ms}))
        new.replace(self._path)


def start_time(wall_ms: int, chosen_ms: int | None, saved_ms: int | None) -> int:
    """Where a virtual clock begins: the chosen time or the wall's, but never before the saved one."""
    start = wall_ms if chosen_ms is None else chosen_ms
    return start if saved_ms is None else max(start, saved_ms)
