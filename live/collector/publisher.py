"""Candles and last prices to the bus, without ever holding up the collector."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from core.candles import Candle
from core.clock import Clock
from core.errors import Unavailable
from live.messages import candle_message, last_price
from pipelines.bus.base import Bus

CAPACITY = 20_000
RETRY_S = 0.5


class Publisher:
    """A queue and a task that empties it. While the bus is away, running candles are left out (newer ones
    follow) and final ones wait, the oldest going first when there are too many: Postgres has them all.
    `on_event` is told (level, event, message) once when it goes and once when it is back.
    """

    def __init__(self, bus: Bus, wall: Clock, on_event: Callable[[str, str, str], None]) -> None:
        self._bus = bus
        self._on_event = on_event
        self._wall = wall
        self._finals: deque[Candle] = deque(maxlen=CAPACITY)
        self._running: dict[tuple[str, str], Candle] = {}
        self._last: dict[str, dict[str, Any]] = {}
        self._wake = asyncio.Event()
        self._away_since: float | None = None
        self.published = 0
        self.left_out = 0
        """Final candles that Redis was away too long for; readers find them in Postgres."""

    @property
    def is_away(self) -> bool:
        """Whether the bus did not answer at the last attempt."""
        return self._away_since is not None

    @property
    def waiting(self) -> int:
        """Messages not sent yet."""
        return len(self._finals) + len(self._running)

    def finals(self, candles: Sequence[Candle]) -> None:
        """Send each of these once."""
        self.left_out += max(0, len(self._finals) + len(candles) - CAPACITY)
        self._finals.extend(candles)
        self._wake.set()

    def running(self, candles: Sequence[Candle]) -> None:
        """Send these, unless newer states of the same candles come first."""
        self._running |= {(candle.symbol, candle.timeframe.value): candle for candle in candles}
        self._wake.set()

    def last(self, candle: Candle, trade_ms: int, exchange_ms: int) -> None:
        """Keep the close of the newest candle as last price."""
        self._last[candle.symbol] = last_price(candle.close, trade_ms, exchange_ms)
        self._wake.set()

    async def run(self) -> None:
        """Send, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._send_all()
                self._set_back()
            except Unavailable as error:
                if self._away_since is None:
                    self._away_since, self.left_out = time.monotonic(), 0
                    self._on_event("error", "redis_away", f"{error}; candles wait, bots read PostgreSQL")
                await asyncio.sleep(RETRY_S)
                self._wake.set()

    def _set_back(self) -> None:
        if self._away_since is not None:
            lasted_s, self._away_since = time.monotonic() - self._away_since, None
            text = f"after {lasted_s:.0f} s; {self.left_out} final candles were left out"
            self._on_event("info", "redis_back", text)

    async def _send_all(self) -> None:
        while self._finals or self._running or self._last:
            while self._finals:
                await self._send(self._finals[0])
                self._finals.popleft()
            running, self._running = self._running, {}
            for candle in running.values():
                await self._send(candle)
            last, self._last = self._last, {}
            for symbol, value in last.items():
                await self._bus.set_value(f"last:{symbol}", value)

    async def _send(self, candle: Candle) -> None:
        await self._bus.publish(f"market:{candle.symbol}", candle_message(candle, self._wall.now_ms()))
        self.published += 1
