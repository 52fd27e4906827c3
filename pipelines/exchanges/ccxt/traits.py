"""What has to be known of an exchange beyond ccxt's unified calls. Those not listed get the defaults."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

Parameters = Mapping[str, Any]


class Traits(msgspec.Struct, frozen=True):
    """How one exchange numbers and pages its trades.

    consecutive_ids: a pair's ids are integers without holes, the same by REST and by WebSocket, so that a
        hole is a lost trade; claimed only where the exchange's documentation says so
    count_field: key in ccxt's `info` of the number of matches in a pushed trade, which has their last id
    options: ccxt's options of this exchange
    recent_limit: most trades that one request for the newest ones gives; None: the exchange's own default
    page_by_id: parameters of `fetch_trades` for a page of the ids first … last; pages_forward: it begins
        with `first`, not with `last`
    page_before_ms: parameters for the page of trades that ends before a time; None: `since` is used
    candles, newest_candles: parameters of `fetch_ohlcv` for all candles, and for the newest ones that the
        former may lack
    is_confirmed: whether the exchange's row of a candle is final; None: it does not say
    """

    consecutive_ids: bool = False
    count_field: str | None = None
    options: Parameters = {}
    recent_limit: int | None = None
    page_by_id: Callable[[int, int], Parameters] | None = None
    pages_forward: bool = False
    page_before_ms: Callable[[int], Parameters] | None = None
    candles: Parameters = {}
    newest_candles: Parameters | None = None
    is_confirmed: Callable[[Sequence[Any]], bool] | None = None


_OKX_HISTORY = {"method": "publicGetMarketHistoryTrades", "limit": 100}

_OKX = Traits(
    consecutive_ids=True,
    count_field="count",
    recent_limit=500,
    # after: older than; type 1 pages by id, 2 by time
    page_by_id=lambda first, last: {**_OKX_HISTORY, "type": "1", "after": str(last + 1)},
    page_before_ms=lambda end_ms: {**_OKX_HISTORY, "type": "2", "after": str(end_ms)},
    candles={"type": "HistoryCandles"},
    newest_candles={"type": "Candles"},
    is_confirmed=lambda row: row[8] == "1",
)
# REST has aggregate trades, so those are watched too: their ids are consecutive, and the same on both sides.
_BINANCE = Traits(
    consecutive_ids=True,
    options={"watchTrades": {"name": "aggTrade"}, "watchTradesForSymbols": {"name": "aggTrade"}},
    recent_limit=1000,
    page_by_id=lambda first, last: {"fromId": first, "limit": 1000},
    pages_forward=True,
)

_KNOWN = {"okx": _OKX, "myokx": _OKX, "okxus": _OKX, "binance": _BINANCE, "binanceus": _BINANCE}
_UNKNOWN = Traits()


def traits_of(exchange_id: str) -> Traits:
    """The traits of ccxt's exchange of that id."""
    return _KNOWN.get(exchange_id, _UNKNOWN)
