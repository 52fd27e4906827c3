"""OKX's request limits, kept by construction. All callers in a process share the budgets of a host, and all
processes of a machine where they are shared (`shared_budget`)."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import cache

# endpoint → (requests, seconds), per address
REST_LIMITS = {
    "/api/v5/market/trades": (100, 2.0),
    "/api/v5/market/history-trades": (20, 2.0),
    "/api/v5/market/candles": (40, 2.0),
    "/api/v5/market/history-candles": (20, 2.0),
    "/api/v5/market/books": (40, 2.0),
    "/api/v5/public/instruments": (20, 2.0),
    "/api/v5/public/time": (10, 2.0),
    "/api/v5/system/status": (1, 5.0),
}
# Requests are spread by the network on the way: two that left 2.0 s apart may arrive 1.96 s apart.
WINDOW_MARGIN_S = 0.05
CONNECTIONS_PER_SECOND = 3
SUBSCRIPTIONS_PER_HOUR = 480


class Budget:
    """At most `limit` uses in any window of `window_s` seconds, wherever the window begins.

    A window over the last uses rather than a refilled bucket: a bucket of 20 refilled at 10 a second lets 40
    through in its first two seconds. Safe to share between threads and event loops.
    """

    def __init__(self, limit: int, window_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._window_s = window_s
        self._monotonic = monotonic
        self._uses: deque[float] = deque(maxlen=limit)
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take the next free place and return the seconds to wait before using it (0: now)."""
        with self._lock:
            now = self._monotonic()
            at = now if len(self._uses) < self._limit else max(now, self._uses[0] + self._window_s)
            self._uses.append(at)
            return at - now

    def available(self) -> int:
        """Uses possible now without waiting."""
        with self._lock:
            since = self._monotonic() - self._window_s
            return self._limit - sum(1 for at in self._uses if at > since)

    async def wait(self) -> None:
        """Reserve, and sleep until the place has come."""
        delay = self.reserve()
        if delay > 0:
            await asyncio.sleep(delay)


@cache
def rest_budgets(base_url: str) -> dict[str, Budget]:
    """The budgets of every REST endpoint of a host: one set a process, whoever asks."""
    return {path: Budget(limit, seconds + WINDOW_MARGIN_S) for path, (limit, seconds) in REST_LIMITS.items()}


@cache
def connection_budget(base_url: str) -> Budget:
    """Connection attempts to a WebSocket service, shared by the feeds of a process. Where it has several
    addresses, the first names them all: OKX counts the attempts of an address of ours, not of its own."""
    return Budget(CONNECTIONS_PER_SECOND, 1.0 + WINDOW_MARGIN_S)
