"""Faults at set virtual times: which windows are open, and which have begun since the last look."""

from collections.abc import Callable, Sequence

from pipelines.exchanges.sim.fault_plan import ScriptedFault, Step


class Script:
    """The steps of a plan on the virtual clock.

    now_ms: virtual time; start_ms: when the script begins
    """

    def __init__(self, steps: Sequence[Step], now_ms: Callable[[], int], start_ms: int) -> None:
        self._now_ms = now_ms
        self._windows = [
            (step.fault, start_ms + int(step.at_s * 1000), start_ms + int((step.at_s + step.for_s) * 1000))
            for step in steps
        ]
        self._looked_ms = start_ms - 1

    def covers(self, fault: ScriptedFault) -> bool:
        """Whether a window of that fault is open now."""
        if not self._windows:
            return False
        now = self._now_ms()
        return any(name == fault and begins <= now < ends for name, begins, ends in self._windows)

    def begun(self) -> list[tuple[ScriptedFault, int]]:
        """The faults that began since the last call, each with its length in virtual ms."""
        if not self._windows:
            return []
        before, self._looked_ms = self._looked_ms, self._now_ms()
        return [(name, end - at) for name, at, end in self._windows if before < at <= self._looked_ms]
