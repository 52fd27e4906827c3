"""The exchange's rate limits, in wall time, per address."""

import time
from collections import defaultdict, deque
from collections.abc import Callable

# endpoint → (requests, seconds), per address, as OKX documents them
REST_LIMITS: dict[str, tuple[int, float]] = {
    "/api/v5/market/trades": (100, 2),
    "/api/v5/market/history-trades": (20, 2),
    "/api/v5/market/candles": (40, 2),
    "/api/v5/market/history-candles": (20, 2),
    "/api/v5/market/books": (40, 2),
    "/api/v5/market/ticker": (20, 2),
    "/api/v5/market/tickers": (20, 2),
    "/api/v5/public/instruments": (20, 2),
    "/api/v5/public/time": (10, 2),
    "/api/v5/public/market-data-history": (5, 2),
    "/api/v5/system/status": (1, 5),
    # private: per user
    "/api/v5/account/balance": (10, 2),
    "/api/v5/account/config": (5, 2),
    "/api/v5/account/trade-fee": (5, 2),
    "/api/v5/asset/currencies": (12, 2),
    "/api/v5/trade/orders-pending": (60, 2),
    "/api/v5/trade/orders-history": (40, 2),
    "/api/v5/trade/orders-history-archive": (20, 2),
    "/api/v5/trade/fills": (60, 2),
    "/api/v5/trade/fills-history": (10, 2),
    # that of POST is per instrument, see trading/operations.py
    "GET /api/v5/trade/order": (60, 2),
    "/api/v5/trade/order-algo": (20, 2),
    "GET /api/v5/trade/order-algo": (20, 2),
    "/api/v5/trade/cancel-algos": (20, 2),
    "/api/v5/trade/orders-algo-pending": (20, 2),
    "/api/v5/trade/orders-algo-history": (20, 2),
}


class SlidingWindow:
    """At most `count` events in any `seconds`, for each key."""

    def __init__(self, count: int, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._seconds = seconds
        self._monotonic = monotonic
        self._events: defaultdict[str, deque[float]] = defaultdict(deque)

    def allows(self, key: str) -> bool:
        """Count an event; False, and not counted, when it is one too many."""
        now = self._monotonic()
        events = self._events[key]
        while events and events[0] <= now - self._seconds:
            events.popleft()
        if len(events) >= self._count:
            return False
        events.append(now)
        return True


class RestLimits:
    """A window for every endpoint and address; `scale` multiplies the counts, 0 allows everything."""

    def __init__(self, scale: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._windows = {
            path: SlidingWindow(max(1, round(count * scale)), seconds, monotonic)
            for path, (count, seconds) in REST_LIMITS.items()
            if scale > 0
        }

    def allows(self, path: str, key: str) -> bool:
        """Whether a request to an endpoint from an address (and instrument type) is within the limit."""
        window = self._windows.get(path)
        return window is None or window.allows(key)
