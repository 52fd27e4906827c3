"""The public REST endpoints: their parameters and paging rules as OKX documents them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from aiohttp import web

from pipelines.exchanges.sim import book, encode, ticker
from pipelines.exchanges.sim.bars import Bar
from pipelines.exchanges.sim.candle_view import CandleView
from pipelines.exchanges.sim.days import DAY_MS, DayTrades
from pipelines.exchanges.sim.exchange import Exchange, Refused, bar_named
from pipelines.exchanges.sim.instruments import instrument
from pipelines.exchanges.sim.specs import SymbolSpec

Query = Mapping[str, str]
Handler = Callable[[Query], Awaitable[bytes]]

TRADE_HISTORY_MS = 90 * DAY_MS
LATEST_CANDLES = 1_440


class RestApi:
    """Answers of every endpoint, as encoded envelopes; raises `Refused` for the exchange's errors."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._history = exchange.history
        self._view = CandleView(exchange.history, exchange.delays)
        self.routes: dict[str, Handler] = {
            "/api/v5/public/time": self.time,
            "/api/v5/public/instruments": self.instruments,
            "/api/v5/system/status": self.status,
            "/api/v5/market/trades": self.trades,
            "/api/v5/market/history-trades": self.history_trades,
            "/api/v5/market/candles": self.candles,
            "/api/v5/market/history-candles": self.history_candles,
            "/api/v5/market/books": self.books,
            "/api/v5/market/ticker": self.ticker,
            "/api/v5/market/tickers": self.tickers,
        }

    async def time(self, query: Query) -> bytes:
        """The virtual clock, ms, as its faults show it."""
        told = self._exchange.delays.told_ms(self._exchange.clock.now_ms())
        return _answer([{"ts": str(told)}])

    async def instruments(self, query: Query) -> bytes:
        """Spot pairs; the other instrument types exist but are empty."""
        kind = query.get("instType", "")
        if kind not in ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION", "EVENTS"):
            raise Refused("51000", "Parameter instType error", 400)
        if kind != "SPOT":
            return _answer([])
        return _answer(self.instrument_rows(query.get("instId")))

    def instrument_rows(self, inst_id: str | None = None) -> list[dict[str, Any]]:
        """The rows of all instruments, or of one."""
        if inst_id:
            self._exchange.spec(inst_id)
        return [
            instrument(spec, self._history.source.first_ms(spec.symbol), code)
            for code, spec in enumerate(self._history.specs.values(), start=1)
            if inst_id in (None, "", spec.symbol)
        ]

    async def status(self, query: Query) -> bytes:
        """No maintenance is ever announced."""
        return _answer([])

    async def trades(self, query: Query) -> bytes:
        """The newest single matches, newest first."""
        spec = self._exchange.spec(query.get("instId"))
        limit = _limit(query, 100, 500)
        now = self._exchange.rest_now_ms()
        newest = self._known(spec, self._history.newest_trades(spec.symbol, now, limit), now)
        return encode.envelope(encode.single_trades(spec, newest)[::-1])

    async def history_trades(self, query: Query) -> bytes:
        """Single matches of the last three months, newest first; by id (type 1) or by time (type 2)."""
        spec = self._exchange.spec(query.get("instId"))
        limit, kind = _limit(query, 100, 100), query.get("type", "1")
        after, before = _number(query, "after"), _number(query, "before")
        if kind not in ("1", "2"):
            raise Refused("51000", "Parameter type error", 400)
        now = self._exchange.rest_now_ms()
        if kind == "2":
            if before is not None:
                raise Refused("50039", "Parameter before is not supported for paging by time", 400)
            page = self._history.newest_trades(spec.symbol, now, limit, below_ms=after)
        else:
            page = self._history.newest_trades(spec.symbol, now, limit, below_id=after, above_id=before)
        page = self._known(spec, page.part(page.until(now - TRADE_HISTORY_MS), len(page)), now)
        return encode.envelope(encode.single_trades(spec, page)[::-1])

    def _known(self, spec: SymbolSpec, trades: DayTrades, now: int) -> DayTrades:
        """Without those that come late and have not come."""
        return trades.only(self._exchange.delays.known(spec.symbol, trades.ts, now))

    async def candles(self, query: Query) -> bytes:
        """The latest 1,440 candles, newest first."""
        bar = bar_named(query.get("bar", "1m"))
        newest = bar.index(self._exchange.rest_now_ms())
        return await self._candles(query, bar, bar.open_ms(newest - LATEST_CANDLES))

    async def history_candles(self, query: Query) -> bytes:
        """Candles of all history, newest first."""
        return await self._candles(query, bar_named(query.get("bar", "1m")), None)

    async def _candles(self, query: Query, bar: Bar, floor_ms: int | None) -> bytes:
        spec = self._exchange.spec(query.get("instId"))
        after, before = _number(query, "after"), _number(query, "before")
        if floor_ms is not None:
            before = floor_ms if before is None else max(before, floor_ms)
        now, limit = self._exchange.rest_now_ms(), _limit(query, 100, 300)
        opens = self._history.page_opens(spec.symbol, bar, now, limit, after, before)
        for day in self._history.cold_days(spec.symbol, bar, opens, now):
            self._history.warm(spec.symbol, bar, day)
            await asyncio.sleep(0)  # producing a day takes milliseconds; the feed goes on in between
        rows = self._view.rows(spec.symbol, bar, opens, now)
        complete = self._view.confirmed(spec.symbol, bar, rows, now)
        return encode.envelope(encode.candles(spec, rows, complete)[::-1])

    async def books(self, query: Query) -> bytes:
        """The order book, up to 400 levels a side."""
        spec = self._exchange.spec(query.get("instId"))
        depth = _number(query, "sz") or 1
        if not 1 <= depth <= 400:
            raise Refused("51000", "Parameter sz error", 400)
        now = self._exchange.clock.now_ms()
        return _answer([book.snapshot(self._history, spec, now, depth).rest_row(spec)])

    async def ticker(self, query: Query) -> bytes:
        """Last trade, best prices and 24 h statistics of one instrument."""
        return _answer([self.ticker_row(self._exchange.spec(query.get("instId")))])

    async def tickers(self, query: Query) -> bytes:
        """The same of all instruments."""
        kind = query.get("instType", "")
        if kind not in ("SPOT", "SWAP", "FUTURES", "OPTION"):
            raise Refused("51000", "Parameter instType error", 400)
        specs = self._history.specs.values() if kind == "SPOT" else ()
        return _answer([self.ticker_row(spec) for spec in specs])

    def ticker_row(self, spec: SymbolSpec) -> dict[str, str]:
        """The ticker of an instrument as of now."""
        return ticker.row(self._history, spec, self._exchange.clock.now_ms())


def _answer(rows: list[Any]) -> bytes:
    return msgspec.json.encode({"code": "0", "msg": "", "data": rows})


def error_body(refused: Refused) -> bytes:
    """The envelope of an error."""
    return msgspec.json.encode({"code": refused.code, "msg": refused.message, "data": []})


def _number(query: Query, name: str) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise Refused("51000", f"Parameter {name} error", 400)
    return int(text)


def _limit(query: Query, default: int, most: int) -> int:
    limit = _number(query, "limit")
    if limit is None:
        return default
    if limit <= 0:
        raise Refused("51000", "Parameter limit error", 400)
    return min(limit, most)


async def respond(api: RestApi, request: web.Request) -> web.Response:
    """The HTTP answer to a request of a known endpoint."""
    try:
        body, status = await api.routes[request.path](request.query), 200
    except Refused as refused:
        body, status = error_body(refused), refused.status
    return web.Response(body=body, status=status, content_type="application/json")
