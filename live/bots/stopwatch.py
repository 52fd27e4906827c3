"""A strategy that takes too long over a candle: its stack is written down while it does."""

import faulthandler
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager


class TooSlow(Exception):
    """A judgement took longer than a bot may take; the message has the stack as it was when time was up."""


class Stopwatch:
    """One a process, because the dump of a stack that it sets off is the process's own.

    Parameters
    ----------
    limit_s: longest time of a judgement

    slowest_s: of the judgements that took more than a tenth of that, since somebody set it to None
    """

    def __init__(self, limit_s: float) -> None:
        self.slowest_s: float | None = None
        self._limit_s = limit_s
        self._trace = tempfile.TemporaryFile("w+")  # noqa: SIM115  (open as long as the process is)

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Around one judgement; TooSlow when it took too long, so that nothing of it is stored."""
        began = time.monotonic()
        faulthandler.dump_traceback_later(self._limit_s, file=self._trace)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
        took_s = time.monotonic() - began
        if took_s > self._limit_s / 10:
            self.slowest_s = max(took_s, self.slowest_s or 0.0)
        if took_s > self._limit_s:
            self._trace.seek(0)
            raise TooSlow(
                f"the strategy took {took_s:.1f} s over one candle, more than {self._limit_s:g} s\n"
                f"at {self._limit_s:g} s it was here:\n{self._trace.read()}"
            )
