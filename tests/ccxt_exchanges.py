"""Binance and Kraken as far as the port needs them: their messages as their documentation shows them, over
one tape of trades. Not simulations: servers for the adapter's tests."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aiohttp import WSMsgType, web

from core.timeframes import Timeframe
from core.trades import Side, Trade
from tests.aggregation import candles_of, trades_frame

KRAKEN_MINUTES = {"1": "1m", "5": "5m", "15": "15m", "60": "1h", "240": "4h", "1440": "1d"}


class Served(ABC):
    """A REST server over the trades before `now_ms`."""

    def __init__(self, tape: Sequence[Trade], now_ms: int) -> None:
        self.tape = list(tape)
        self.now_ms = now_ms
        self.base = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base = f"127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close everything."""
        assert self._runner is not None
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        answer = self.answer(request.path, dict(request.query))
        return web.Response(text=answer, content_type="application/json")

    @abstractmethod
    def answer(self, path: str, query: dict[str, str]) -> str:
        """A REST answer."""

    def rows(self, timeframe: Timeframe) -> list[tuple[Any, ...]]:
        """Candles that have trades, the running one too: close_ms, open, high, low, close, volume, count."""
        candles = candles_of(trades_frame(self.tape), timeframe, self.now_ms + timeframe.ms)
        return [row for row in candles if row[6]]


class Pushing(Served):
    """One with a WebSocket too. `sockets`: open connections; `push` sends trades to them."""

    def __init__(self, tape: Sequence[Trade], now_ms: int) -> None:
        super().__init__(tape, now_ms)
        self.sockets: list[web.WebSocketResponse] = []
        self.subscriptions = 0

    async def push(self, trades: Sequence[Trade]) -> None:
        """Trades as they happen."""
        for trade in trades:
            for socket in list(self.sockets):
                await socket.send_str(self.pushed(trade))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return await super()._handle(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            asked = json.loads(message.data) if message.type == WSMsgType.TEXT else {}
            if str(asked.get("method")).lower() == "subscribe":
                await socket.send_str(self.acknowledged(asked))
                self.sockets.append(socket)
                self.subscriptions += 1
        self.sockets = [other for other in self.sockets if other is not socket]
        return socket

    @abstractmethod
    def acknowledged(self, asked: dict[str, Any]) -> str:
        """The answer to a subscription."""

    @abstractmethod
    def pushed(self, trade: Trade) -> str:
        """A trade as it is pushed."""


class Binance(Pushing):
    """BTCUSDT: aggregate trades with consecutive ids; klines; numbers as texts."""

    urls_of = staticmethod(
        lambda base: {"public": f"http://{base}/api/v3", "ws": {"spot": f"ws://{base}/ws"}}
    )

    def answer(self, path: str, query: dict[str, str]) -> str:
        limit = int(query.get("limit", 500))
        if path.endswith("/exchangeInfo"):
            return json.dumps({"serverTime": self.now_ms, "symbols": [self._market()]})
        if path.endswith("/time"):
            return json.dumps({"serverTime": self.now_ms})
        if path.endswith("/klines"):
            length = Timeframe(query["interval"]).ms
            rows = [
                [row[0] - length, *map(str, row[1:6]), row[0] - 1, "0", row[6], "0", "0", "0"]
                for row in self.rows(Timeframe(query["interval"]))
                if int(query.get("startTime", 0)) <= row[0] - length <= int(query.get("endTime", 1 << 62))
            ]
            return json.dumps(rows[:limit] if "startTime" in query else rows[-limit:])
        assert path.endswith("/aggTrades"), path
        found = [
            trade
            for trade in self.tape
            if trade.trade_id >= int(query.get("fromId", 0))
            and int(query.get("startTime", 0)) <= trade.timestamp_ms <= int(query.get("endTime", 1 << 62))
        ]
        page = found[:limit] if {"fromId", "startTime"} & query.keys() else found[-limit:]
        return json.dumps([self._row(trade) for trade in page])

    def acknowledged(self, asked: dict[str, Any]) -> str:
        assert asked["params"] == ["btcusdt@aggTrade"], asked
        return json.dumps({"result": None, "id": asked["id"]})

    def pushed(self, trade: Trade) -> str:
        return json.dumps({"e": "aggTrade", "E": trade.timestamp_ms, "s": "BTCUSDT", **self._row(trade)})

    def _row(self, trade: Trade) -> dict[str, Any]:
        return {
            "a": trade.trade_id,
            "p": str(trade.price),
            "q": str(trade.size),
            "f": trade.trade_id * 3,
            "l": trade.trade_id * 3 + 2,
            "T": trade.timestamp_ms,
            "m": trade.side is Side.SELL,
            "M": True,
        }

    def _market(self) -> dict[str, Any]:
        filters = [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.01",
                "maxPrice": "1000000",
                "tickSize": "0.01000000",
            },
            {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001000"},
        ]
        return {
            "symbol": "BTCUSDT",
            "status": "TRADING",
            "baseAsset": "BTC",
            "baseAssetPrecision": 8,
            "quoteAsset": "USDT",
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": ["LIMIT", "MARKET"],
            "isSpotTradingAllowed": True,
            "filters": filters,
            "permissionSets": [["SPOT"]],
        }


class Kraken(Pushing):
    """XBT/USD: REST with texts, a WebSocket with bare JSON numbers; time to the second."""

    urls_of = staticmethod(lambda base: {"public": f"http://{base}", "ws": {"publicV2": f"ws://{base}/v2"}})

    def answer(self, path: str, query: dict[str, str]) -> str:
        result: dict[str, Any]
        if path.endswith("/Assets"):
            result = {
                "XXBT": {"aclass": "currency", "altname": "XBT", "decimals": 10, "display_decimals": 5},
                "ZUSD": {"aclass": "currency", "altname": "USD", "decimals": 4, "display_decimals": 2},
            }
        elif path.endswith("/AssetPairs"):
            result = {"XXBTZUSD": self._market()}
        elif path.endswith("/Time"):
            result = {"unixtime": self.now_ms // 1000, "rfc1123": ""}
        elif path.endswith("/OHLC"):
            timeframe = Timeframe(KRAKEN_MINUTES[query["interval"]])
            rows = [
                [(row[0] - timeframe.ms) // 1000, *map(str, row[1:5]), "0", str(row[5]), row[6]]
                for row in self.rows(timeframe)
                if row[0] - timeframe.ms > int(query.get("since", 0)) * 1000
            ]
            result = {"XXBTZUSD": rows[-720:], "last": 0}
        else:
            assert path.endswith("/Trades"), path
            since_ms = int(query.get("since", 0)) * 1000
            found = [trade for trade in self.tape if trade.timestamp_ms >= since_ms]
            page = found[:1000] if since_ms else found[-1000:]
            result = {"XXBTZUSD": [self._row(trade) for trade in page], "last": "0"}
        return json.dumps({"error": [], "result": result})

    def acknowledged(self, asked: dict[str, Any]) -> str:
        result = {"channel": "trade", "snapshot": True, "symbol": "BTC/USD"}
        return json.dumps(
            {"method": "subscribe", "result": result, "success": True, "req_id": asked["req_id"]}
        )

    def pushed(self, trade: Trade) -> str:
        at = datetime.fromtimestamp(trade.timestamp_ms / 1000, UTC)
        row = {
            "symbol": "BTC/USD",
            "side": trade.side.value,
            "price": "PRICE",
            "qty": "SIZE",
            "ord_type": "market",
            "trade_id": trade.trade_id,
            "timestamp": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        text = json.dumps({"channel": "trade", "type": "update", "data": [row]})
        return text.replace('"PRICE"', str(trade.price)).replace('"SIZE"', str(trade.size))

    def _row(self, trade: Trade) -> list[Any]:
        side = "b" if trade.side is Side.BUY else "s"
        return [str(trade.price), str(trade.size), trade.timestamp_ms / 1000, side, "m", "", trade.trade_id]

    def _market(self) -> dict[str, Any]:
        return {
            "altname": "XBTUSD",
            "wsname": "XBT/USD",
            "base": "XXBT",
            "quote": "ZUSD",
            "pair_decimals": 2,
            "lot_decimals": 8,
            "lot_multiplier": 1,
            "leverage_buy": [],
            "fees": [[0, 0.4]],
            "fees_maker": [[0, 0.25]],
            "ordermin": "0.00005",
            "costmin": "0.5",
            "tick_size": "0.01",
            "status": "online",
        }


class Zaif(Served):
    """btc_jpy: no WebSocket in ccxt, no candles, the newest `page` trades only, times in seconds."""

    page = 150
    urls_of = staticmethod(lambda base: {"rest": f"http://{base}"})

    def answer(self, path: str, query: dict[str, str]) -> str:
        if path.endswith("/currency_pairs/all"):
            return json.dumps([self._market()])
        if path.endswith("/currencies/all"):
            return json.dumps([])
        assert path.endswith("/trades/btc_jpy"), path
        return "[" + ",".join(self.pushed(trade) for trade in self.tape[-self.page :][::-1]) + "]"

    def pushed(self, trade: Trade) -> str:
        side = "bid" if trade.side is Side.BUY else "ask"
        return (
            f'{{"date":{trade.timestamp_ms // 1000},"price":{trade.price},"amount":{trade.size},'
            f'"tid":{trade.trade_id},"currency_pair":"btc_jpy","trade_type":"{side}"}}'
        )

    def _market(self) -> dict[str, Any]:
        return {
            "currency_pair": "btc_jpy",
            "name": "BTC/JPY",
            "aux_unit_step": 5.0,
            "aux_unit_min": 5.0,
            "aux_unit_point": 0,
            "item_unit_step": 0.0001,
            "item_unit_min": 0.0001,
        }


def tape_of(symbol: str, hours: int, end_ms: int) -> list[Trade]:
    """A trade every ten seconds until `end_ms`, sizes with more digits than a float has, consecutive ids."""
    count = hours * 360
    return [
        Trade(
            symbol,
            5_000_000 + n,
            end_ms - (count - n) * 10_000 + n % 7,
            Decimal(6_000_000 + n * 37 % 999) / 100,
            Decimal(123_456_789_012_345_678 + n) / 10**12,
            Side.BUY if n % 3 else Side.SELL,
        )
        for n in range(count)
    ]
