"""Candles: right-aligned, exact, built from trades or from smaller candles."""

from decimal import Decimal
from typing import Literal

import msgspec

from core.timeframes import Timeframe

CandleSource = Literal["trades", "exchange", "synthetic"]


class Candle(msgspec.Struct, frozen=True, gc=False):
    """Open, high, low, close of [close_ms − timeframe, close_ms), labelled by its close.

    open … close: exact, quote currency; volume: exact, base currency
    trades_count: matches inside (Σ count of its trades); 0 for candles fetched from the exchange, which
        does not say
    final: released once and not to change but by a revision; a running candle has final=False
    revision: 0 at first release, +1 each time it is re-issued
    provisional: released past the refill budget with a known hole
    """

    symbol: str
    timeframe: Timeframe
    close_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    trades_count: int = 0
    source: CandleSource = "trades"
    final: bool = True
    revision: int = 0
    provisional: bool = False

    @property
    def open_ms(self) -> int:
        """Open time in ms, inclusive."""
        return self.close_ms - self.timeframe.ms
