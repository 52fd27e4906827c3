"""The clocks of running processes: the wall, and the exchange's as seen from here."""

import time
from collections import deque
from collections.abc import Callable

from pipelines.clock_offset import Offset, OffsetWindow

WINDOW = 8
"""Samples the rate is taken over: one late answer in a window of seconds hardly moves it."""
SHORTEST_S = 0.2
"""Samples closer together than this say nothing about the rate."""
FIRST_MS = 1_230_768_000_000
"""The beginning of 2009, the year of the first bitcoin: nothing that is traded for coins happened before."""
DAY_MS = 86_400_000
"""What is further ahead of the exchange's clock than this did not happen yet."""
JUMP_S = 2.0
"""A sample that is off by more real seconds than this means another clock: a restart, another speed."""


class SystemClock:
    """The machine's clock, for what happens here (heartbeats, receive times), never for candles."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000


class ExchangeClock:
    """The exchange's clock, followed through its answers, at whatever rate it runs.

    One that runs as this machine's does, as the real exchange's, is known by its offset, to within half the
    quickest round trip. Another one runs on between samples at the rate of the last few. It never goes back;
    before the first sample it shows the machine's time.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._samples: deque[tuple[float, int]] = deque(maxlen=WINDOW)
        self._base_at = monotonic()
        self._base_ms: float = time.time_ns() // 1_000_000
        self._rate = 1.0
        self._highest_ms = 0
        self._offsets = OffsetWindow()
        self.steady: Offset | None = None
        """Of the exchange's clock to this machine's monotonic one; None while it runs at another rate."""

    @property
    def rate(self) -> float:
        """Virtual milliseconds a real millisecond."""
        return self._rate

    @property
    def is_set(self) -> bool:
        """Whether the exchange was heard at least once."""
        return bool(self._samples)

    @property
    def uncertainty_ms(self) -> float:
        """By how much what it shows may be wrong, real ms; 0 where nothing is proven."""
        return 0.0 if self.steady is None else self.steady.uncertainty_ms

    def answer(self, exchange_ms: int, asked: float, answered: float, slowest_s: float | None = None) -> bool:
        """Take in the exchange's answer to a question: it said `exchange_ms` at some moment between `asked`
        and `answered` (monotonic seconds). False when it was not used: the clock runs at a rate of its own,
        and an answer that took longer than `slowest_s` says too little about it."""
        self._offsets.add(exchange_ms, asked, answered)
        self.steady = self._offsets.estimate()
        if self.steady is None:
            if slowest_s is not None and answered - asked > slowest_s:
                return False
            self.sample(exchange_ms, (asked + answered) / 2)
            return True
        shown_ms = self.steady.offset_ms + answered * 1000
        self._samples.append((answered, int(shown_ms)))
        self._base_at, self._base_ms, self._rate = answered, shown_ms, 1.0
        return True

    def sample(self, exchange_ms: int, at_monotonic: float | None = None) -> None:
        """Take in an observation: the exchange said `exchange_ms` when this machine's monotonic clock showed
        `at_monotonic` seconds (now, if not given)."""
        at = self._monotonic() if at_monotonic is None else at_monotonic
        if self._samples:
            if at - self._samples[-1][0] < SHORTEST_S:
                return
            error_ms = exchange_ms - (self._base_ms + (at - self._base_at) * 1000 * self._rate)
            if len(self._samples) > 1 and abs(error_ms) > JUMP_S * 1000 * max(self._rate, 1.0):
                last = self._samples[-1]
                self._samples.clear()
                self._samples.append(last)
            first_at, first_ms = self._samples[0]
            self._rate = max((exchange_ms - first_ms) / ((at - first_at) * 1000), 0.0)
        self._samples.append((at, exchange_ms))
        self._base_at, self._base_ms = at, exchange_ms

    def observe(self, exchange_ms: int) -> None:
        """Something happened at the exchange at `exchange_ms`: its clock is not behind that. What is more
        than a day ahead is left out: the clock could not go back."""
        ahead_ms = exchange_ms - self.now_ms()
        if 0 < ahead_ms <= DAY_MS and self._samples:
            self._base_ms += ahead_ms

    def doubt(self, exchange_ms: int) -> str | None:
        """Why nothing can have happened at the exchange at that time, if so; nothing is known of the future
        before the first sample."""
        if exchange_ms < FIRST_MS:
            return "a trade from before 2009"
        if self._samples and exchange_ms > self.now_ms() + DAY_MS:
            return "a trade more than a day ahead of the exchange's clock"
        return None

    def now_ms(self) -> int:
        """Exchange time, ms since the epoch, UTC."""
        elapsed_ms = (self._monotonic() - self._base_at) * 1000
        now = int(self._base_ms + elapsed_ms * self._rate)
        if self._samples:
            self._highest_ms = now = max(self._highest_ms, now)
        return now
