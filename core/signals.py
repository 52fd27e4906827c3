"""What a strategy says at the close of a candle."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class SignalType(StrEnum):
    """The three things a strategy can say."""

    BUY = "buy"
    SELL = "sell"
    HOLD = "hold"


class Signal(msgspec.Struct, frozen=True):
    """A decision computed at the close of candle `timestamp_ms`, to be filled at the first trade after it.

    price: the candle's close; confidence in [0, 1]; indicators: values seen, by name (None before warm-up)
    """

    signal_type: SignalType
    timestamp_ms: int
    price: float
    confidence: float
    indicators: Mapping[str, float | None] = {}
