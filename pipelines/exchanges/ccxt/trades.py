"""ccxt's trades as ours, and what stands for the id where an exchange's own ids are no sequence."""

import zlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from core.errors import Unavailable
from core.trades import Side, Trade
from pipelines.exchanges.ccxt.traits import Traits

LOW_BITS = 21
"""Of 63: what is left of an exchange's id beside the time in ms, which has room until the year 2109."""

_LOW = (1 << LOW_BITS) - 1


def trades(rows: Iterable[Mapping[str, Any]], symbol: str, source: str, traits: Traits) -> list[Trade]:
    """ccxt's rows as trades of our `symbol`, in the order of their ids.

    Unavailable for a row that is no trade: without a time, a side, or a price and an amount above 0, or
    without the integer id that the traits promise.
    """
    found = [_trade(row, symbol, source, traits) for row in rows]
    found.sort(key=lambda trade: trade.trade_id)
    return found


def time_id(timestamp_ms: int, original: str) -> int:
    """The number by which a trade without a place in a sequence is known: in the order of time, the same from
    wherever it comes. Trades of one ms keep the order of integer ids, and have an arbitrary one otherwise."""
    low = int(original) if original.isdecimal() else zlib.crc32(original.encode())
    return timestamp_ms << LOW_BITS | low & _LOW


def time_of(trade_id: int) -> int:
    """The ms in a number made by `time_id`."""
    return trade_id >> LOW_BITS


def _trade(row: Mapping[str, Any], symbol: str, source: str, traits: Traits) -> Trade:
    try:
        at_ms, price, size = int(row["timestamp"]), Decimal(row["price"]), Decimal(row["amount"])
        if not (price > 0 and size > 0 and price.is_finite() and size.is_finite()):
            raise ValueError("price or amount is not above 0")
        side = Side(row["side"])
        if traits.consecutive_ids:
            count = int((row.get("info") or {}).get(traits.count_field) or 1) if traits.count_field else 1
            return Trade(symbol, int(row["id"]), at_ms, price, size, side, count, source)
        # Some exchanges give their trades no id; what is equal in all of this counts once.
        original = row.get("id") or f"{price.normalize()} {size.normalize()} {side}"
        return Trade(symbol, time_id(at_ms, str(original)), at_ms, price, size, side, 1, source)
    except (TypeError, ValueError, ArithmeticError) as error:
        given = {name: row.get(name) for name in ("id", "timestamp", "price", "amount", "side")}
        raise Unavailable(f"{symbol}: the exchange sent no trade: {given} ({error})") from None
