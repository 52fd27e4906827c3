"""OKX's public REST API behind the exchange port: instruments, candles and trades, paged to the end.

OKX's words are the other way round from what they suggest: `after=X` asks for rows OLDER than X, and every
answer is newest first. Its candles carry the open time; ours carry the close.
"""

from collections.abc import AsyncGenerator
from decimal import InvalidOperation
from typing import TypeVar

import msgspec

from core.candles import Candle
from core.errors import Unavailable
from core.instruments import Instrument
from core.timeframes import Timeframe
from core.trades import Trade
from pipelines.exchanges.okx import wire
from pipelines.exchanges.okx.frames import CandleRow
from pipelines.exchanges.okx.hosts import Hosts
from pipelines.exchanges.okx.requests import Requester

CANDLES_PAGE = 300
HISTORY_TRADES_PAGE = 100
RECENT_TRADES = 500

# Without `utc` OKX's days begin at 16:00 UTC.
BARS = {
    Timeframe.M1: "1m",
    Timeframe.M5: "5m",
    Timeframe.M15: "15m",
    Timeframe.H1: "1H",
    Timeframe.H4: "4H",
    Timeframe.D1: "1Dutc",
}

T = TypeVar("T")

_BY_ID, _BY_TIME = 1, 2


class _Time(msgspec.Struct, frozen=True):
    ts: int


_times = msgspec.json.Decoder(tuple[_Time], strict=False)
_candle_rows = msgspec.json.Decoder(list[CandleRow], strict=False)
_trade_rows = msgspec.json.Decoder(list[wire.TradeRow], strict=False)
_raw_rows = msgspec.json.Decoder(list[msgspec.Raw])
_instrument_row = msgspec.json.Decoder(wire.InstrumentRow, strict=False)


def decode_instruments(data: bytes) -> tuple[list[Instrument], int]:
    """The rows of an instruments answer, and how many had no usable tick, lot or minimum (pre-opening ones
    may have none yet): one odd row must not hide the others."""
    listed: list[Instrument] = []
    rows = _raw_rows.decode(data)
    for row in rows:
        try:
            listed.append(_instrument_row.decode(row).instrument())
        except msgspec.ValidationError:
            continue
    return listed, len(rows) - len(listed)


class OkxRest:
    """`pipelines.exchanges.base.ExchangeRest` over OKX v5, or over anything that speaks it.

    address: the base URL, or several to fall back on
    """

    consecutive_ids = True

    def __init__(self, address: str | Hosts, requester: Requester | None = None) -> None:
        self._requester = requester or Requester(address)

    @property
    def url(self) -> str:
        """The host in use."""
        return self._requester.hosts.current

    async def close(self) -> None:
        """Close connections."""
        await self._requester.close()

    async def instruments(self) -> list[Instrument]:
        """All spot instruments."""
        data = await self._requester.get("/api/v5/public/instruments", {"instType": "SPOT"})
        return decode_instruments(data)[0]

    async def server_time_ms(self) -> int:
        """The exchange's clock, ms since the epoch."""
        (time,) = _decode(_times, await self._requester.get("/api/v5/public/time", {}))
        return time.ts

    async def candles(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> list[Candle]:
        """Confirmed candles whose close time is in (start_ms, end_ms], oldest first; pages as needed."""
        found: dict[int, Candle] = {}
        after = end_ms - timeframe.ms + 1
        while after + timeframe.ms > start_ms + 1:
            wanted = -(-(after + timeframe.ms - start_ms - 1) // timeframe.ms)
            rows = await self._candle_page("history-candles", symbol, timeframe, after, wanted)
            if not rows or rows[-1].open_ms >= after:  # the end, or a server that does not page
                break
            _keep(found, symbol, timeframe, rows, start_ms)
            after = rows[-1].open_ms
        lagging = (end_ms - max(found, default=start_ms)) // timeframe.ms
        if lagging > 0:
            # The history lags the market by a candle or so; the newest 1,440 are served elsewhere.
            rows = await self._candle_page("candles", symbol, timeframe, end_ms - timeframe.ms + 1, lagging)
            _keep(found, symbol, timeframe, rows, start_ms)
        return [found[close_ms] for close_ms in sorted(found)]

    async def recent_trades(self, symbol: str, limit: int = RECENT_TRADES) -> list[Trade]:
        """The newest trades (at most 500), oldest first."""
        data = await self._requester.get(
            "/api/v5/market/trades", {"instId": symbol, "limit": min(limit, RECENT_TRADES)}
        )
        return _trades(data)[::-1]

    async def trades_by_id(self, symbol: str, first_id: int, last_id: int) -> list[Trade]:
        """Single matches with first_id <= trade_id <= last_id, oldest first; pages as needed.

        What paging by id leaves out (rows it skips were seen, and a history that lags) is looked for once
        more by time, and among the newest trades.
        """
        found: dict[int, Trade] = {}
        after = last_id + 1
        while after > first_id:
            page = await self._trade_page(symbol, _BY_ID, after)
            if not page or page[-1].trade_id >= after:  # the end, or a server that does not page
                break
            found.update((trade.trade_id, trade) for trade in page)
            after = page[-1].trade_id
        wanted = range(first_id, last_id + 1)
        if any(trade_id not in found for trade_id in wanted):
            await self._look_again(symbol, found, first_id, last_id)
        return [found[trade_id] for trade_id in wanted if trade_id in found]

    async def trade_pages(
        self, symbol: str, start_ms: int, end_ms: int, before_id: int | None = None
    ) -> AsyncGenerator[list[Trade], None]:
        """Trades with start_ms <= timestamp < end_ms in pages, the newest page first; oldest first inside.
        With `before_id` only those of smaller id.

        The end is found by time, the rest paged by id: many trades share a millisecond, none shares an id.
        """
        if before_id is None:
            page = await self._trade_page(symbol, _BY_TIME, end_ms)
        else:
            page = await self._trade_page(symbol, _BY_ID, before_id)
        while page:
            wanted = [trade for trade in reversed(page) if start_ms <= trade.timestamp_ms < end_ms]
            if wanted:
                yield wanted
            oldest = page[-1]
            if oldest.timestamp_ms < start_ms:
                return
            page = await self._trade_page(symbol, _BY_ID, oldest.trade_id)
            if page and page[-1].trade_id >= oldest.trade_id:
                raise Unavailable("the exchange does not page its trades by id")

    async def _look_again(self, symbol: str, found: dict[int, Trade], first_id: int, last_id: int) -> None:
        """Add to `found` what paging by time has of the ids that are missing in it."""
        missing = [trade_id for trade_id in range(first_id, last_id + 1) if trade_id not in found]
        after_ms = await self._time_above(symbol, found, missing[-1])
        while after_ms is not None and any(trade_id not in found for trade_id in missing):
            page = await self._trade_page(symbol, _BY_TIME, after_ms)
            found.update((trade.trade_id, trade) for trade in page)
            if not page or page[-1].trade_id <= missing[0] or page[-1].timestamp_ms >= after_ms:
                return
            # Rows of the last millisecond may go on behind the page: it is asked for again, unless all of
            # the page is of that one millisecond.
            oldest_ms = page[-1].timestamp_ms
            after_ms = oldest_ms + 1 if oldest_ms + 1 < after_ms else oldest_ms

    async def _time_above(self, symbol: str, found: dict[int, Trade], trade_id: int) -> int | None:
        """A time (ms) up to which `trade_id` happened: right after that of a later trade."""
        above = [trade for known, trade in found.items() if known > trade_id]
        if not above:
            page = await self._trade_page(symbol, _BY_ID, trade_id + HISTORY_TRADES_PAGE)
            page += await self.recent_trades(symbol)
            found.update((trade.trade_id, trade) for trade in page)
            above = [trade for trade in page if trade.trade_id > trade_id]
        nearest = min(above, key=lambda trade: trade.trade_id, default=None)
        return None if nearest is None else nearest.timestamp_ms + 1

    async def _candle_page(
        self, endpoint: str, symbol: str, timeframe: Timeframe, after_ms: int, wanted: int
    ) -> list[CandleRow]:
        """Up to `wanted` rows, at most 300, that open before `after_ms`; newest first."""
        parameters: dict[str, str | int] = {
            "instId": symbol,
            "bar": BARS[timeframe],
            "after": after_ms,
            "limit": min(wanted, CANDLES_PAGE),
        }
        return _decode(_candle_rows, await self._requester.get(f"/api/v5/market/{endpoint}", parameters))

    async def _trade_page(self, symbol: str, kind: int, after: int) -> list[Trade]:
        """Up to 100 trades older than `after` (an id or ms, by kind), newest first."""
        parameters: dict[str, str | int] = {
            "instId": symbol,
            "type": kind,
            "after": after,
            "limit": HISTORY_TRADES_PAGE,
        }
        data = await self._requester.get("/api/v5/market/history-trades", parameters)
        return _trades(data)


def _keep(
    found: dict[int, Candle], symbol: str, timeframe: Timeframe, rows: list[CandleRow], start_ms: int
) -> None:
    length_ms = timeframe.ms
    for row in rows:
        close_ms = row.open_ms + length_ms
        # One page can end with two running rows: everything unconfirmed is left for later.
        if row.confirm == "1" and close_ms > start_ms:
            found[close_ms] = Candle(
                symbol,
                timeframe,
                close_ms,
                row.open,
                row.high,
                row.low,
                row.close,
                row.volume,
                source="exchange",
            )


def _trades(data: bytes) -> list[Trade]:
    """Rows as trades, in the order given."""
    try:
        return wire.requested(_trade_rows.decode(data))
    except (msgspec.ValidationError, InvalidOperation) as error:
        raise Unavailable(f"the exchange answered with something else: {error}") from None


def _decode(decoder: "msgspec.json.Decoder[T]", data: bytes) -> T:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise Unavailable(f"the exchange answered with something else: {error}") from None
