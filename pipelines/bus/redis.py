"""The bus over Redis: pub/sub for messages, plain keys for last values."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import redis.asyncio as aioredis
import structlog
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from core.errors import Unavailable
from pipelines.bus import json
from pipelines.bus.base import MARKER

SOCKET_TIMEOUT_S = 5.0
PING_AFTER_S = 5.0
"""A subscription that heard nothing for so long asks whether the server is there."""
RECONNECT_S = (0.1, 0.2, 0.5, 1.0, 2.0)

QUEUED = 10_000
"""Messages read ahead of a slow reader; Redis keeps what comes after them, up to its own limit."""

Message = tuple[str, dict[str, Any]]

_log = structlog.get_logger("bus")
_LOST = (RedisError, OSError, asyncio.TimeoutError)


class RedisBus:
    """Bus of one Redis server. One instance a process; close it at the end.

    Parameters
    ----------
    url: redis://host:port/db
    socket_timeout_s: longest wait for an answer, and for connecting
    """

    def __init__(self, url: str, socket_timeout_s: float = SOCKET_TIMEOUT_S) -> None:
        self._url = url
        self._client: aioredis.Redis = aioredis.Redis.from_url(
            url,
            socket_timeout=socket_timeout_s,
            socket_connect_timeout=socket_timeout_s,
            # Reconnecting is done here, where a reader can be told of it.
            retry=Retry(NoBackoff(), 0),
            health_check_interval=15,
        )

    async def publish(self, channel: str, message: dict[str, Any]) -> None:
        """Send to whoever listens now."""
        await self._command("PUBLISH", channel, json.encode(message))

    async def set_value(self, key: str, value: dict[str, Any], ttl_s: float | None = None) -> None:
        """Keep a last value, for `ttl_s` seconds if given."""
        expiry = () if ttl_s is None else ("PX", max(1, round(ttl_s * 1000)))
        await self._command("SET", key, json.encode(value), *expiry)

    async def get_value(self, key: str) -> dict[str, Any] | None:
        """The last value kept under that key."""
        data = await self._command("GET", key)
        return None if data is None else json.decode(data)

    async def subscribe(self, channels: Sequence[str]) -> AsyncIterator[Message]:
        """(channel, message) pairs; see pipelines.bus.base.Bus."""
        queue: asyncio.Queue[Message | Exception] = asyncio.Queue(QUEUED)
        reading = asyncio.create_task(self._read(channels, queue), name=f"read {' '.join(channels)}")
        try:
            while True:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            await _end(reading)

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()

    async def _command(self, *arguments: Any) -> Any:
        """Run a command; once more on a fresh connection, because a pooled one may have died of idleness."""
        for attempt in (1, 2):
            try:
                answer = await self._client.execute_command(*arguments)  # type: ignore[no-untyped-call]
                _end_if_cancelled()
                return answer
            except _LOST as error:
                if attempt == 2:
                    raise Unavailable(f"Redis at {self._url} does not answer: {error}") from error
        return None

    async def _read(self, channels: Sequence[str], queue: asyncio.Queue[Message | Exception]) -> None:
        """Read into the queue, for ever; an error that is not the connection's goes to the reader."""
        event, failures = "subscribed", 0
        while True:
            pubsub = self._client.pubsub(ignore_subscribe_messages=False)
            try:
                await _open(pubsub, channels)
                failures = 0
                await queue.put((MARKER, {"event": event}))
                event = "reconnected"
                await _pass_on(pubsub, queue)
            except _LOST as error:
                if failures == 0:
                    _log.warning("subscription lost", error=str(error), channels=list(channels))
            except Exception as error:
                await queue.put(error)
                return
            finally:
                await _discard(pubsub)
            await asyncio.sleep(RECONNECT_S[min(failures, len(RECONNECT_S) - 1)])
            failures += 1


def _end_if_cancelled() -> None:
    """redis-py sends by asyncio.wait_for, which before Python 3.12 loses a cancellation that comes at the
    moment the sending is done."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _end(reading: "asyncio.Task[None]") -> None:
    """Cancel until it is over: see `_end_if_cancelled`."""
    while not reading.done():
        reading.cancel()
        await asyncio.wait({reading}, timeout=0.1)
    if not reading.cancelled():
        reading.exception()


async def _open(pubsub: PubSub, channels: Sequence[str]) -> None:
    """Subscribe and wait until the server has acknowledged every channel."""
    patterns = [channel for channel in channels if "*" in channel]
    plain = [channel for channel in channels if "*" not in channel]
    if plain:
        await pubsub.subscribe(*plain)
    if patterns:
        await pubsub.psubscribe(*patterns)
    acknowledged = 0
    while acknowledged < len(channels):
        message = await pubsub.get_message(timeout=SOCKET_TIMEOUT_S)
        if message is None:
            raise TimeoutError("no answer to a subscription")
        _end_if_cancelled()
        acknowledged += message["type"] in {"subscribe", "psubscribe"}


async def _pass_on(pubsub: PubSub, queue: asyncio.Queue[Message | Exception]) -> None:
    asked = False
    while True:
        message = await pubsub.get_message(timeout=PING_AFTER_S)
        _end_if_cancelled()
        if message is None:
            if asked:
                raise TimeoutError("no answer to a ping")
            await pubsub.ping()
            asked = True
            continue
        asked = False
        if message["type"] in {"message", "pmessage"}:
            channel = message["channel"].decode()
            try:
                document = json.decode(message["data"])
            except msgspec.DecodeError as error:
                _log.warning("not a JSON object, skipped", channel=channel, error=str(error))
                continue
            await queue.put((channel, document))


async def _discard(pubsub: PubSub) -> None:
    try:
        await pubsub.aclose()  # type: ignore[no-untyped-call]
    except _LOST as error:
        _log.debug("closing a lost subscription", error=str(error))
