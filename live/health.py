"""What the daemon says about itself: a heartbeat every second, and events."""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import psutil
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core.clock import Clock
from core.errors import Unavailable
from live.messages import iso
from pipelines.bus.base import Bus
from pipelines.clock import ExchangeClock
from pipelines.warehouse.health import Level, beat, record_event

COMPONENT = "live"
BEAT_S = 1.0
EVENTS_KEPT = 1_000

_log = structlog.get_logger("health")


class Events:
    """Events to the log at once, and to system_events and the bus as soon as they can be had.

    `tell` never waits and never fails; while Postgres is away the newest thousand are kept. Neither way waits
    for the other: that one server is away must be heard through the other.
    """

    def __init__(self, engine: Engine, bus: Bus, wall: Clock) -> None:
        self._engine = engine
        self._bus = bus
        self._wall = wall
        self._queue: deque[tuple[int, Level, str, str]] = deque(maxlen=EVENTS_KEPT)
        self._unpublished: deque[tuple[int, Level, str, str]] = deque(maxlen=EVENTS_KEPT)
        self._to_store, self._to_publish = asyncio.Event(), asyncio.Event()

    def tell(self, level: str, event: str, message: str) -> None:
        """level: info, warning or error; event: a word for programs; message: a sentence for people."""
        known = cast("Level", level if level in {"info", "warning", "error"} else "error")
        getattr(_log, known)(event, message=message)
        for queue in (self._queue, self._unpublished):
            queue.append((self._wall.now_ms(), known, event, message))
        self._to_store.set()
        self._to_publish.set()

    async def run(self) -> None:
        """Deliver, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._store_all(), name="events to store")
            tasks.create_task(self._publish_all(), name="events to publish")

    async def _publish_all(self) -> None:
        while True:
            await self._to_publish.wait()
            self._to_publish.clear()
            while self._unpublished:
                await self._publish(*self._unpublished.popleft())

    async def _store_all(self) -> None:
        while True:
            await self._to_store.wait()
            self._to_store.clear()
            while self._queue:
                at_ms, level, event, message = first = self._queue[0]
                try:
                    await asyncio.to_thread(
                        record_event, self._engine, level, COMPONENT, event, message, None, at_ms
                    )
                except SQLAlchemyError:
                    await asyncio.sleep(BEAT_S)
                    continue
                if self._queue[0] is first:  # a full queue drops its oldest
                    self._queue.popleft()

    async def _publish(self, at_ms: int, level: str, event: str, message: str) -> None:
        try:
            await self._bus.publish(
                "system:events",
                {
                    "timestamp": iso(at_ms),
                    "level": level,
                    "component": COMPONENT,
                    "event": event,
                    "message": message,
                },
            )
        except Unavailable as error:
            _log.warning("event not published", event_name=event, reason=str(error))


async def keep_beating(
    engine: Engine, wall: Clock, clock: ExchangeClock, details: Callable[[], dict[str, Any]]
) -> None:
    """Write the heartbeat row `live` every second, for ever."""
    process = psutil.Process(os.getpid())
    while True:
        document = {
            "pid": process.pid,
            "rss_mb": round(process.memory_info().rss / 1e6, 1),
            "cpu_s": round(sum(process.cpu_times()[:2]), 1),
            **details(),
        }
        exchange_ms = clock.now_ms() if clock.is_set else None
        try:
            await asyncio.to_thread(beat, engine, COMPONENT, wall.now_ms(), exchange_ms, document)
        except SQLAlchemyError as error:
            _log.warning("no heartbeat", reason=str(error).split("\n")[0])
        await asyncio.sleep(BEAT_S)
