"""The bus port: publish JSON to named channels, read them, keep last values."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

MARKER = "bus"
"""Channel name of what a subscription says about itself: {"event": "subscribed" or "reconnected"}."""


class Bus(Protocol):
    """Fire-and-forget messages between processes. Postgres stays the truth: a message may be lost.

    Channels: market:{symbol}, signals:{bot_id}, status:{bot_id}, system:events, control:bots.
    Implementations: pipelines.bus.redis.RedisBus, pipelines.bus.memory.MemoryBus; one contract suite.
    Numbers with a fraction arrive as `decimal.Decimal`, exact; whole ones as int.
    """

    async def publish(self, channel: str, message: dict[str, Any]) -> None:
        """Send to whoever listens now; raises core.errors.Unavailable when the server is away."""
        ...

    def subscribe(self, channels: Sequence[str]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """(channel, message) pairs; patterns with * allowed.

        The first item is ("bus", {"event": "subscribed"}): whatever is published from then on arrives. It
        reconnects by itself, and then yields ("bus", {"event": "reconnected"}), so that the reader can look
        in Postgres for what it missed. A pending `anext` that is cancelled (by wait_for, say) ends it.
        """
        ...

    async def set_value(self, key: str, value: dict[str, Any], ttl_s: float | None = None) -> None:
        """Keep a last value (last price, order book); raises Unavailable when the server is away."""
        ...

    async def get_value(self, key: str) -> dict[str, Any] | None:
        """The last value kept under that key; raises Unavailable when the server is away."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
