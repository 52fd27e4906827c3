"""A trade as the exchange published it."""

from decimal import Decimal
from enum import StrEnum

import msgspec


class Side(StrEnum):
    """The taker's side of a trade, or the side of an order."""

    BUY = "buy"
    SELL = "sell"


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One published trade, which may aggregate several matches.

    trade_id: the LAST id of the aggregation; it covers trade_id − count + 1 … trade_id
    timestamp_ms: exchange time, UTC
    price, size: exact, in quote and base currency
    side: the taker's
    source: websocket, rest or bulk
    """

    symbol: str
    trade_id: int
    timestamp_ms: int
    price: Decimal
    size: Decimal
    side: Side
    count: int = 1
    source: str = "websocket"

    @property
    def first_id(self) -> int:
        """The first id that this record covers."""
        return self.trade_id - self.count + 1
