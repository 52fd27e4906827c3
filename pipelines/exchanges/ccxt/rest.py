"""Market data by request from any exchange that ccxt knows, behind the exchange port."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import partial

from core.candles import Candle
from core.clock import Clock
from core.errors import BadInput
from core.instruments import Instrument
from core.timeframes import Timeframe
from core.trades import Trade
from pipelines.clock import SystemClock
from pipelines.exchanges.ccxt import markets
from pipelines.exchanges.ccxt.candles import candles, merged, on_boundaries, source_of
from pipelines.exchanges.ccxt.client import open_exchange
from pipelines.exchanges.ccxt.paging import pages_by_time
from pipelines.exchanges.ccxt.requests import ATTEMPTS, Caller
from pipelines.exchanges.ccxt.trades import time_of, trades
from pipelines.exchanges.ccxt.traits import Parameters, Traits, traits_of

RECENT_TRADES = 500
CANDLES_PAGE = 300
"""Where ccxt does not say how many an exchange gives at once."""
SETTLED_MS = 2_000
"""Where nobody says whether a candle is confirmed, one that closed this long ago is taken as that."""
IDS_PAGE = 1_000


class CcxtRest:
    """`pipelines.exchanges.base.ExchangeRest` over ccxt. Use it in one event loop.

    Parameters
    ----------
    exchange_id: ccxt's
    urls: in place of ccxt's own, by ccxt's key
    wall: the time of exchanges that do not tell theirs
    traits: default: those known of the exchange
    rate_limit: keep to the exchange's limits, as ccxt knows them
    """

    def __init__(
        self,
        exchange_id: str,
        urls: Mapping[str, str] | None = None,
        wall: Clock | None = None,
        traits: Traits | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        attempts: int = ATTEMPTS,
        rate_limit: bool = True,
    ) -> None:
        self.exchange_id = exchange_id
        self._traits = traits or traits_of(exchange_id)
        self._exchange = open_exchange(exchange_id, self._traits, urls or {})
        self._exchange.enableRateLimit = rate_limit
        self._wall = wall or SystemClock()
        self._caller = Caller(exchange_id, sleep, attempts)
        self._pairs: dict[str, str] = {}
        self.consecutive_ids = self._traits.consecutive_ids

    async def close(self) -> None:
        """Close connections."""
        await self._exchange.close()

    async def instruments(self) -> list[Instrument]:
        """All spot instruments that have a fixed tick and lot."""
        found = await self._caller.call("instruments", lambda: self._exchange.load_markets(True))
        self._pairs = markets.pairs(found.values())
        return markets.instruments(found.values(), self._exchange.precisionMode)

    async def server_time_ms(self) -> int:
        """The exchange's clock, ms since the epoch; this machine's where the exchange does not tell."""
        if self._exchange.has["fetchTime"] is not True:
            return self._wall.now_ms()
        return int(await self._caller.call("time", self._exchange.fetch_time))

    async def candles(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> list[Candle]:
        """Confirmed candles whose close time is in (start_ms, end_ms], oldest first; pages as needed."""
        pair = await self._pair(symbol)
        if self._traits.is_confirmed is None:
            end_ms = min(end_ms, await self.server_time_ms() - SETTLED_MS)
        part = source_of(timeframe, self._exchange.timeframes or {})
        if self._exchange.has["fetchOHLCV"] is not True or part is None:
            raise BadInput(
                "timeframe", f"{self.exchange_id} has no candles of which {timeframe} could be made"
            )
        # The first candle that closes after start_ms, from its opening.
        start_ms, end_ms = timeframe.open_ms(start_ms), timeframe.open_ms(end_ms)
        found = await self._candles(symbol, pair, part, start_ms, end_ms)
        if not on_boundaries(found):
            found = await self._candles(symbol, pair, Timeframe.H1, start_ms, end_ms)
        return found if all(c.timeframe is timeframe for c in found) else merged(found, timeframe)

    async def recent_trades(self, symbol: str, limit: int = RECENT_TRADES) -> list[Trade]:
        """The newest trades (at most 500), oldest first."""
        wanted = min(limit, RECENT_TRADES)
        page = self._traits.recent_limit
        found = await self._trades(symbol, None, None if page is None else min(wanted, page), {})
        return found[-wanted:]

    async def trades_by_id(self, symbol: str, first_id: int, last_id: int) -> list[Trade]:
        """Trades with first_id <= trade_id <= last_id, oldest first; pages as needed."""
        found: dict[int, Trade] = {}
        if self._traits.page_by_id is None:
            async for page in self.trade_pages(symbol, time_of(first_id), time_of(last_id) + 1):
                found.update((trade.trade_id, trade) for trade in page)
        else:
            found = await self._by_id(symbol, self._traits.page_by_id, first_id, last_id)
        return [found[i] for i in sorted(found) if first_id <= i <= last_id]

    async def trade_pages(
        self, symbol: str, start_ms: int, end_ms: int, before_id: int | None = None
    ) -> AsyncGenerator[list[Trade], None]:
        """Trades with start_ms <= timestamp < end_ms in pages, the newest page first; oldest first inside.
        With `before_id` only those of smaller id.

        TooOld when the exchange does not give trades as old as that.
        """
        if not self.consecutive_ids:
            if before_id is not None:
                end_ms = min(end_ms, time_of(before_id) + 1)
            async for page in pages_by_time(partial(self._since, symbol), start_ms, end_ms):
                if wanted := [trade for trade in page if before_id is None or trade.trade_id < before_id]:
                    yield wanted
            return
        before = await self._id_after(symbol, end_ms) if before_id is None else before_id
        while page := await self.trades_by_id(symbol, before - IDS_PAGE, before - 1):
            if wanted := [trade for trade in page if start_ms <= trade.timestamp_ms < end_ms]:
                yield wanted
            if page[0].timestamp_ms < start_ms:
                return
            before = page[0].first_id

    async def _by_id(
        self, symbol: str, parameters: Callable[[int, int], Parameters], low: int, high: int
    ) -> dict[int, Trade]:
        found: dict[int, Trade] = {}
        newest = high
        while low <= high:
            page = await self._trades(symbol, None, None, parameters(low, high))
            new = [trade for trade in page if low <= trade.trade_id <= high]
            if not new:
                break
            found.update((trade.trade_id, trade) for trade in new)
            if self._traits.pages_forward:
                low = new[-1].trade_id + 1
            else:
                high = new[0].first_id - 1
        if newest not in found:
            # The history may lag the market.
            found.update((trade.trade_id, trade) for trade in await self.recent_trades(symbol))
        return found

    async def _id_after(self, symbol: str, end_ms: int) -> int:
        """An id above those of all trades before `end_ms`, and not far above."""
        if self._traits.page_before_ms is not None:
            page = await self._trades(symbol, None, None, self._traits.page_before_ms(end_ms))
            return page[-1].trade_id + 1 if page else 0
        if page := await self._trades(symbol, end_ms, 1, {}):
            return page[0].first_id
        recent = await self.recent_trades(symbol)
        return recent[-1].trade_id + 1 if recent else 0

    async def _since(self, symbol: str, since_ms: int | None) -> list[Trade]:
        return await self._trades(symbol, since_ms, None, {})

    async def _trades(
        self, symbol: str, since_ms: int | None, limit: int | None, more: Parameters
    ) -> list[Trade]:
        pair = await self._pair(symbol)
        rows = await self._caller.call(
            f"{symbol} trades", lambda: self._exchange.fetch_trades(pair, since_ms, limit, dict(more))
        )
        return trades(rows, symbol, "rest", self._traits)

    async def _candles(
        self, symbol: str, pair: str, timeframe: Timeframe, start_ms: int, end_ms: int
    ) -> list[Candle]:
        """Candles that open at start_ms or later and close at end_ms or before."""
        limit = self._exchange.feature_value(pair, "fetchOHLCV", "limit", CANDLES_PAGE) or CANDLES_PAGE
        found: dict[int, Candle] = {}

        async def fetch(since_ms: int, more: Parameters) -> int:
            """Where the next page begins."""
            wanted = min(limit, (end_ms - since_ms) // timeframe.ms)
            rows = await self._caller.call(
                f"{symbol} {timeframe} candles",
                lambda: self._exchange.fetch_ohlcv(pair, timeframe.value, since_ms, wanted, dict(more)),
            )
            page = [
                c for c in candles(rows, symbol, timeframe) if since_ms <= c.open_ms and c.close_ms <= end_ms
            ]
            found.update((candle.close_ms, candle) for candle in page)
            return page[-1].close_ms if page else since_ms + limit * timeframe.ms

        at = start_ms
        while at + timeframe.ms <= end_ms:
            at = await fetch(at, self._traits.candles)
        reached = max(found, default=start_ms)
        if self._traits.newest_candles is not None and reached + timeframe.ms <= end_ms:
            await fetch(max(reached, end_ms - limit * timeframe.ms), self._traits.newest_candles)
        return [found[close_ms] for close_ms in sorted(found)]

    async def _pair(self, symbol: str) -> str:
        if not self._pairs:
            listed = await self._caller.call("markets", self._exchange.load_markets)
            self._pairs = markets.pairs(listed.values())
        return markets.listed(symbol, self._pairs, self.exchange_id)
