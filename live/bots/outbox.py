"""What a bot says on the bus, sent beside its work: a slow Redis never holds up a decision."""

import asyncio

import structlog

from core.errors import Unavailable
from live.bots.messages import Message
from pipelines.bus.base import Bus

MOST_WAITING = 1000
FLUSH_S = 1.0
QUIET_S = 0.02
"""Between a decision and the news of it. All bots of a timeframe wake at once: what one of them has to say
must not take the processor from those that have not decided yet."""

_log = structlog.get_logger("bot")


class Outbox:
    """A bounded queue. Messages are news, the database is the truth: with Redis away they are dropped."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._queue: asyncio.Queue[Message] = asyncio.Queue(MOST_WAITING)

    def put(self, message: Message) -> None:
        """Send soon; the oldest message gives way when too many wait."""
        if self._queue.full():
            self._queue.get_nowait()
            self._queue.task_done()
        self._queue.put_nowait(message)

    async def run(self) -> None:
        """Send for ever."""
        while True:
            if self._queue.empty():
                channel, message = await self._queue.get()
                await asyncio.sleep(QUIET_S)
            else:
                channel, message = self._queue.get_nowait()
            try:
                await self._bus.publish(channel, message)
            except Unavailable as error:
                _log.debug("not published", channel=channel, error=str(error))
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Wait a moment for what is queued."""
        try:
            async with asyncio.timeout(FLUSH_S):
                await self._queue.join()
        except TimeoutError:
            _log.debug("messages left unsent", count=self._queue.qsize())
