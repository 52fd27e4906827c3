"""The clocks of running processes: the wall, and the exchange's as seen from here."""

import time


class SystemClock:
    """The machine's clock, for what happens here (heartbeats, receive times), never for candles."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000


class ExchangeClock:
    """The exchange's clock, followed through samples, at whatever rate it runs.

    Between samples it runs on at the rate of the last two; it never goes back.
    """

    def __init__(self) -> None:
        self._sample_ms = time.time_ns() // 1_000_000
        self._sampled_at = time.monotonic()
        self._rate = 1.0
        self._samples = 0
        self._highest_ms = 0

    @property
    def rate(self) -> float:
        """Virtual milliseconds a real millisecond."""
        return self._rate

    def sample(self, exchange_ms: int, at_monotonic: float | None = None) -> None:
        """Take in an observation: the exchange said `exchange_ms` when this machine's monotonic clock showed
        `at_monotonic` seconds (now, if not given)."""
        at = time.monotonic() if at_monotonic is None else at_monotonic
        elapsed_ms = (at - self._sampled_at) * 1000
        if self._samples and elapsed_ms >= 200:
            rate = (exchange_ms - self._sample_ms) / elapsed_ms
            self._rate = max(rate, 0.0)
        if not self._samples or elapsed_ms >= 200:
            self._sample_ms, self._sampled_at = exchange_ms, at
            self._samples += 1

    def now_ms(self) -> int:
        """Exchange time, ms since the epoch, UTC."""
        elapsed_ms = (time.monotonic() - self._sampled_at) * 1000
        self._highest_ms = max(self._highest_ms, int(self._sample_ms + elapsed_ms * self._rate))
        return self._highest_ms
