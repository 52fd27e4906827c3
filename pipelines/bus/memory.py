"""The bus inside one process, for tests: the same meaning as Redis, without a server."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pipelines.bus import json
from pipelines.bus.base import MARKER

Message = tuple[str, dict[str, Any]]


class MemoryBus:
    """Bus of one event loop. Messages go through JSON, so that types are those of the real one."""

    def __init__(self) -> None:
        self._readers: list[tuple[tuple[str, ...], asyncio.Queue[Message]]] = []
        self._values: dict[str, tuple[bytes, float | None]] = {}

    async def publish(self, channel: str, message: dict[str, Any]) -> None:
        """Send to whoever listens now."""
        data = json.encode(message)
        for patterns, queue in self._readers:
            for pattern in patterns:
                if fnmatchcase(channel, pattern):
                    queue.put_nowait((channel, json.decode(data)))

    async def subscribe(self, channels: Sequence[str]) -> AsyncIterator[Message]:
        """(channel, message) pairs; see pipelines.bus.base.Bus."""
        queue: asyncio.Queue[Message] = asyncio.Queue()
        reader = (tuple(channels), queue)
        self._readers.append(reader)
        try:
            yield MARKER, {"event": "subscribed"}
            while True:
                yield await queue.get()
        finally:
            self._readers.remove(reader)

    def drop_connections(self) -> None:
        """Tell every reader that the connection was lost and is back, as a restarted server would."""
        for _, queue in self._readers:
            queue.put_nowait((MARKER, {"event": "reconnected"}))

    async def set_value(self, key: str, value: dict[str, Any], ttl_s: float | None = None) -> None:
        """Keep a last value, for `ttl_s` seconds if given."""
        self._values[key] = (json.encode(value), None if ttl_s is None else time.monotonic() + ttl_s)

    async def get_value(self, key: str) -> dict[str, Any] | None:
        """The last value kept under that key."""
        data, expires = self._values.get(key, (None, None))
        if data is None or (expires is not None and expires <= time.monotonic()):
            return None
        return json.decode(data)

    async def close(self) -> None:
        """Nothing to close."""
