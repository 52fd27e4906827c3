"""What is said on the bus, in the words of the contract."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from core.candles import Candle

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(at_ms: int) -> str:
    """2026-11-21T00:05:00Z, with milliseconds only where there are any."""
    at = _EPOCH + timedelta(milliseconds=at_ms)
    text = at.isoformat(timespec="milliseconds" if at_ms % 1000 else "seconds")
    return text.replace("+00:00", "Z")


def candle_message(candle: Candle, published_ms: int) -> dict[str, Any]:
    """A message of market:{symbol}; `published_ms` is wall time."""
    return {
        "symbol": candle.symbol,
        "timeframe": candle.timeframe.value,
        "timestamp": iso(candle.close_ms),
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "volume": candle.volume,
        "trades_count": candle.trades_count,
        "final": candle.final,
        "revision": candle.revision,
        "source": candle.source,
        "provisional": candle.provisional,
        "published_ms": published_ms,
    }


def last_price(price: Decimal, trade_ms: int, exchange_ms: int) -> dict[str, Any]:
    """The value kept under last:{symbol}."""
    return {"price": price, "timestamp": iso(trade_ms), "exchange_time": iso(exchange_ms)}
