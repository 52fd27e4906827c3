"""What the bus brings to a bot: every final candle in order, and the newest running one."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

import structlog

from core.book_fills import BookTop
from core.timeframes import Timeframe
from live.bots.messages import MarketUpdate, book_update, market_update
from pipelines.bus.base import MARKER, Bus
from pipelines.bus.books import channel as book_channel
from pipelines.warehouse.bots import CONTROL_CHANNEL

MOST_WAITING = 200
"""Final candles kept; with more than that waiting, the bot reads them from the database instead."""

_log = structlog.get_logger("bot")


class Inbox:
    """Listens to market:{symbol} and control:bots, and to book:{symbol} for a bot that takes from books.

    nudged: somebody changed something about this bot, or messages may have been missed
    """

    def __init__(
        self, bus: Bus, bot_name: str, symbol: str, timeframe: Timeframe, books: bool = False
    ) -> None:
        self.nudged = False
        self._bus = bus
        self._bot_name = bot_name
        self._symbol = symbol
        self._timeframe = timeframe
        self._finals: deque[MarketUpdate] = deque(maxlen=MOST_WAITING)
        self._running: MarketUpdate | None = None
        self._books = (book_channel(symbol),) if books else ()
        self._book: BookTop | None = None
        self._something = asyncio.Event()

    async def run(self) -> None:
        """Listen for ever; the bus reconnects by itself."""
        channels = [f"market:{self._symbol}", CONTROL_CHANNEL, *self._books]
        async for channel, message in self._bus.subscribe(channels):
            if channel in {MARKER, CONTROL_CHANNEL}:
                if message.get("bot") in {None, self._bot_name}:
                    self.nudged = True
                    self.wake()
                continue
            try:
                self._read(channel, message)
            except (KeyError, ValueError, TypeError, ArithmeticError) as error:
                _log.warning("a message that is no candle or book", channel=channel, error=repr(error))

    def next(self) -> MarketUpdate | None:
        """The oldest final candle, else the newest running one, else None."""
        if self._finals:
            return self._finals.popleft()
        running, self._running = self._running, None
        return running

    def next_book(self) -> BookTop | None:
        """The newest order book since the newest final candle, once."""
        book, self._book = self._book, None
        return book

    def clear(self) -> None:
        """Forget what is waiting."""
        self._finals.clear()
        self._running = self._book = None

    def drop_running(self) -> None:
        """Forget the running candle: it may be older than the final candles judged meanwhile."""
        self._running = None

    def wake(self) -> None:
        """End a `wait` now."""
        self._something.set()

    async def wait(self, longest_s: float) -> None:
        """Until something arrives, or `longest_s` seconds have passed."""
        if self._finals or self._running or self._book or self.nudged:
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

    def _read(self, channel: str, message: Mapping[str, Any]) -> None:
        if channel in self._books:
            self._book = book_update(message)
            self.wake()
        elif (update := market_update(message, self._symbol, self._timeframe)) is not None:
            self._take(update)

    def _take(self, update: MarketUpdate) -> None:
        if not update.candle.final:
            self._running = update
        else:
            # A running candle seen before this final one may have begun with a trade that was not the first.
            # A book from before it has not seen what is decided at it.
            self._running = self._book = None
            self._finals.append(update)
        self.wake()
