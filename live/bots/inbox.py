"""What the bus brings to a bot: every final candle in order, and the newest running one."""

import asyncio
from collections import deque

import structlog

from core.timeframes import Timeframe
from live.bots.messages import MarketUpdate, market_update
from pipelines.bus.base import MARKER, Bus
from pipelines.warehouse.bots import CONTROL_CHANNEL

MOST_WAITING = 200
"""Final candles kept; with more than that waiting, the bot reads them from the database instead."""

_log = structlog.get_logger("bot")


class Inbox:
    """Listens to market:{symbol} and control:bots.

    nudged: somebody changed something about this bot, or messages may have been missed
    """

    def __init__(self, bus: Bus, bot_name: str, symbol: str, timeframe: Timeframe) -> None:
        self.nudged = False
        self._bus = bus
        self._bot_name = bot_name
        self._symbol = symbol
        self._timeframe = timeframe
        self._finals: deque[MarketUpdate] = deque(maxlen=MOST_WAITING)
        self._running: MarketUpdate | None = None
        self._something = asyncio.Event()

    async def run(self) -> None:
        """Listen for ever; the bus reconnects by itself."""
        async for channel, message in self._bus.subscribe([f"market:{self._symbol}", CONTROL_CHANNEL]):
            if channel in {MARKER, CONTROL_CHANNEL}:
                if message.get("bot") in {None, self._bot_name}:
                    self.nudged = True
                    self.wake()
                continue
            try:
                update = market_update(message, self._symbol, self._timeframe)
            except (KeyError, ValueError, ArithmeticError) as error:
                _log.warning("a message that is no candle", channel=channel, error=repr(error))
                continue
            if update is not None:
                self._take(update)

    def next(self) -> MarketUpdate | None:
        """The oldest final candle, else the newest running one, else None."""
        if self._finals:
            return self._finals.popleft()
        running, self._running = self._running, None
        return running

    def clear(self) -> None:
        """Forget what is waiting."""
        self._finals.clear()
        self._running = None

    def drop_running(self) -> None:
        """Forget the running candle: it may be older than the final candles judged meanwhile."""
        self._running = None

    def wake(self) -> None:
        """End a `wait` now."""
        self._something.set()

    async def wait(self, longest_s: float) -> None:
        """Until something arrives, or `longest_s` seconds have passed."""
        if self._finals or self._running or self.nudged:
            return
        self._something.clear()
        await self.sleep(longest_s)

    async def sleep(self, longest_s: float) -> None:
        """Up to `longest_s` seconds, less when woken."""
        try:
            async with asyncio.timeout(max(longest_s, 0)):
                await self._something.wait()
        except TimeoutError:
            return

    def _take(self, update: MarketUpdate) -> None:
        if not update.candle.final:
            self._running = update
        else:
            # A running candle seen before this final one may have begun with a trade that was not the first.
            self._running = None
            self._finals.append(update)
        self.wake()
