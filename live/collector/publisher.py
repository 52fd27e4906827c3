"""Candles and last prices to the bus, without ever holding up the collector."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import structlog

from core.candles import Candle
from core.clock import Clock
from core.errors import Unavailable
from live.messages import candle_message, last_price
from pipelines.bus.base import Bus

CAPACITY = 20_000
RETRY_S = 0.5

_log = structlog.get_logger("publisher")


class Publisher:
    """A queue and a task that empties it. While the bus is away, running candles are left out (newer ones
    follow) and final ones wait, the oldest going first when there are too many: Postgres has them all.
    """

    def __init__(self, bus: Bus, wall: Clock) -> None:
        self._bus = bus
        self._wall = wall
        self._finals: deque[Candle] = deque(maxlen=CAPACITY)
        self._running: dict[tuple[str, str], Candle] = {}
        self._last: dict[str, dict[str, Any]] = {}
        self._wake = asyncio.Event()
        self.is_away = False
        self.published = 0

    @property
    def waiting(self) -> int:
        """Messages not sent yet."""
        return len(self._finals) + len(self._running)

    def finals(self, candles: Sequence[Candle]) -> None:
        """Send each of these once."""
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
                self.is_away = False
            except Unavailable as error:
                if not self.is_away:
                    _log.warning("the bus is away", reason=str(error), waiting=self.waiting)
                self.is_away = True
                await asyncio.sleep(RETRY_S)
                self._wake.set()

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
