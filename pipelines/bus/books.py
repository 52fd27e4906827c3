"""Order books on the bus: the best levels of each side, kept under `book:{symbol}` and told there too."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from pipelines.bus.base import Bus

DEPTH = 5
KEPT_S = 30.0
"""A book that was not confirmed for so long is gone: nobody shall take an old one for the market."""

PriceLevel = tuple[Decimal, Decimal]


def channel(symbol: str) -> str:
    """The key of the newest book, and the channel on which each is told."""
    return f"book:{symbol}"


def document(
    symbol: str,
    timestamp: str,
    bids: Sequence[PriceLevel],
    asks: Sequence[PriceLevel],
    sequence: int | None,
) -> dict[str, Any]:
    """The message. timestamp: exchange time of the newest change, ISO 8601; bids, asks: (price, size), best
    first; sequence: the exchange's number of this state of the book."""
    return {"symbol": symbol, "timestamp": timestamp, "bids": bids, "asks": asks, "sequence": sequence}


async def publish_book(bus: Bus, message: dict[str, Any]) -> None:
    """Keep it and tell it; raises core.errors.Unavailable when the server is away."""
    name = channel(message["symbol"])
    await bus.set_value(name, message, ttl_s=KEPT_S)
    await bus.publish(name, message)


async def read_book(bus: Bus, symbol: str) -> dict[str, Any] | None:
    """The newest book, as published; None when none was confirmed in the last 30 s. Raises Unavailable."""
    return await bus.get_value(channel(symbol))
