"""How long to wait before the next attempt: 1, 2, 4, 8 … 60 s, with jitter."""

import random
from collections.abc import Callable


class Backoff:
    """Doubling delays, each drawn from [delay/2, delay]: clients cut off together come back apart."""

    def __init__(
        self, first_s: float = 1.0, longest_s: float = 60.0, uniform: Callable[[], float] = random.random
    ) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._uniform = uniform
        self._failures = 0

    @property
    def failures(self) -> int:
        """Failures since the last success."""
        return self._failures

    def next_delay_s(self) -> float:
        """Count a failure; the seconds to wait."""
        # 2**30 s is far beyond any longest_s; the exponent stops there to stay a small number.
        delay = min(self._longest_s, self._first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return delay * (0.5 + 0.5 * self._uniform())

    def reset(self) -> None:
        """Count a success: the next delay is the first again."""
        self._failures = 0
