"""The trade feed against a server that speaks OKX's protocol, stops, comes back and says it will close."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest
from aiohttp import WSMsgType, web

from core.trades import Trade
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.feed import OkxTradeFeed
from pipelines.exchanges.okx.requests import Requester
from pipelines.exchanges.okx.rest import OkxRest
from pipelines.exchanges.okx.socket import dial
from pipelines.exchanges.okx.watch import Patience
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import serve

SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")
START_MS = 1_789_000_000_000


class Listener:
    """A feed that runs, and what it said."""

    def __init__(self, ws_url: str, symbols: tuple[str, ...] = SYMBOLS) -> None:
        self.trades: list[Trade] = []
        self.states: list[tuple[str, str]] = []
        self.feed = OkxTradeFeed(ws_url, backoff=Backoff(first_s=0.05, longest_s=0.2))
        self.task = asyncio.create_task(self.feed.run(symbols, self.trades.extend, self._state))

    def _state(self, state: str, detail: str) -> None:
        self.states.append((state, detail))

    def count(self, state: str) -> int:
        return sum(1 for name, _ in self.states if name == state)

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


async def until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def listening(ws_url: str, symbols: tuple[str, ...] = SYMBOLS) -> AsyncIterator[Listener]:
    listener = Listener(ws_url, symbols)
    try:
        yield listener
    finally:
        await listener.stop()


def ids(trades: list[Trade], symbol: str) -> list[int]:
    """Every id covered by the trades of a symbol, in order of arrival."""
    return [i for t in trades if t.symbol == symbol for i in range(t.first_id, t.trade_id + 1)]


async def test_trades_of_all_symbols_arrive_complete():
    """At 200 times the speed of life: ids without a hole, and each trade is the one REST tells."""
    sim = await serve(SimOptions(seed=5, start_ms=START_MS, speed=200))
    rest = OkxRest(sim.rest_url)
    async with listening(sim.ws_url) as listener:
        await until(lambda: all(len(ids(listener.trades, s)) > 200 for s in SYMBOLS), "200 matches a symbol")
        assert listener.states[:2] == [
            ("connecting", f"{sim.ws_url}/public"),
            ("live", f"{sim.ws_url}/public"),
        ]
        trades = list(listener.trades)
        for symbol in SYMBOLS:
            received = ids(trades, symbol)
            assert all(b == a + 1 for a, b in pairwise(received))
            matches = await rest.trades_by_id(symbol, received[0], received[-1])
            assert [match.trade_id for match in matches] == received
            total = sum(t.size for t in trades if t.symbol == symbol)
            assert total == sum(match.size for match in matches)
    await rest.close()
    await sim.close()


async def test_a_restart_of_the_exchange_is_survived(unused_port: int):
    """The server goes away and comes back on the same port: the feed says so and trades arrive again."""
    options = SimOptions(seed=5, start_ms=START_MS, speed=200, port=unused_port)
    sim = await serve(options)
    async with listening(sim.ws_url) as listener:
        await until(lambda: listener.trades, "trades before the restart")
        await sim.close()
        await until(lambda: listener.count("reconnecting") >= 2, "attempts while nobody is there")
        seen = len(listener.trades)
        sim = await serve(options)
        await until(lambda: len(listener.trades) > seen + 50, "trades after the restart")
        assert listener.count("live") == 2
    await sim.close()


async def test_an_error_of_the_receiver_ends_the_feed():
    """A bug in the code that takes the trades is raised by `run`, not swallowed."""
    sim = await serve(SimOptions(seed=5, start_ms=START_MS, speed=200))

    def broken(trades: list[Trade]) -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        await OkxTradeFeed(sim.ws_url).run(SYMBOLS, broken, lambda state, detail: None)
    await sim.close()


async def test_a_symbol_not_served_is_named_and_the_others_work():
    """An unknown instrument is refused aloud; the feed is live for the rest."""
    sim = await serve(SimOptions(seed=5, start_ms=START_MS, speed=200))
    async with listening(sim.ws_url, ("NOPE-USDT", "BTC-USDT")) as listener:
        await until(lambda: listener.count("live"), "live")
        await until(lambda: listener.trades, "trades")
        refused = [detail for state, detail in listener.states if state == "refused"]
        assert len(refused) == 1
        assert "60018" in refused[0]
        assert "NOPE-USDT" in refused[0]
    await sim.close()


async def test_a_bad_line_loses_no_trade_for_good():
    """Cut sockets, doubled and disordered pushes, garbage, notices: every id between the first and the last
    is received or can be had by REST, although one request in five is refused there too."""
    faults = {
        "seed": 3,
        "disconnect": {"every_s": 1.0},
        "notice": {"every_s": 1.5, "for_s": 1.0},
        "duplicate": 0.05,
        "reorder": 0.05,
        "garbage": 0.05,
        "http_429": 0.1,
        "http_500": 0.1,
    }
    sim = await serve(
        SimOptions(seed=5, start_ms=START_MS, speed=500, faults=faults, connection_limits=False, rate_limit=0)
    )
    rest = OkxRest(sim.rest_url, Requester(sim.rest_url, budgets={}))
    async with listening(sim.ws_url) as listener:
        await until(
            lambda: listener.count("live") >= 4 and len(set(ids(listener.trades, SYMBOLS[0]))) > 500,
            "four connections and 500 matches",
            60,
        )
    assert listener.feed.codec.unknown.total() > 0
    for symbol in SYMBOLS:
        received = set(ids(listener.trades, symbol))
        missing = sorted(set(range(min(received), max(received))) - received)
        for first, last in runs(missing):
            received |= {trade.trade_id for trade in await rest.trades_by_id(symbol, first, last)}
        assert received == set(range(min(received), max(received) + 1))
    await rest.close()
    await sim.close()


def runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Sorted numbers as (first, last) of each unbroken run."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


class Scripted:
    """A server that acknowledges, pushes one trade a subscription, and does as it is told."""

    def __init__(self) -> None:
        self.sockets: list[web.WebSocketResponse] = []
        self.requests: list[dict[str, object]] = []
        self.next_id = 100
        self.pings = 0

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.data == "ping":
                self.pings += 1
            elif message.type == WSMsgType.TEXT:
                asked = json.loads(message.data)
                self.requests.append(asked)
                for argument in asked["args"]:
                    await socket.send_json({"event": asked["op"], "arg": argument, "id": asked["id"]})
                    await self.push(socket)
        return socket

    async def push(self, socket: web.WebSocketResponse) -> None:
        self.next_id += 1
        row = {"instId": "BTC-USDT", "tradeId": str(self.next_id), "px": "1", "sz": "1", "side": "buy"}
        data = [{**row, "ts": "1789000000000", "count": "1"}]
        await socket.send_json({"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": data})

    async def start(self) -> tuple[web.AppRunner, str]:
        app = web.Application()
        app.router.add_get("/ws/v5/public", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, f"ws://127.0.0.1:{runner.addresses[0][1]}/ws/v5"


async def test_a_silent_subscription_is_asked_for_again():
    """Acknowledged but silent beyond the patience: it is unsubscribed and subscribed anew, on the same
    connection, whose answer proves it alive, and the feed says so."""
    server = Scripted()
    runner, url = await server.start()
    states: list[str] = []
    trades: list[Trade] = []
    feed = OkxTradeFeed(url, patience=Patience(first_s=0.5))
    task = asyncio.create_task(feed.run(["BTC-USDT"], trades.extend, lambda s, d: states.append(s)))
    await until(lambda: len(server.requests) >= 3, "the second subscription")
    assert [request["op"] for request in server.requests[:3]] == ["subscribe", "unsubscribe", "subscribe"]
    await until(lambda: len(trades) >= 3, "the answers")
    assert states == ["connecting", "live", "silent", "live"]
    assert len(server.sockets) == 1
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await runner.cleanup()


async def test_a_silent_connection_is_pinged_and_then_given_up():
    """After 20 s without a message the text `ping` goes out; any answer is enough, none in 8 s is the end."""
    server = Scripted()
    runner, url = await server.start()
    texts: list[bytes] = []
    socket = await dial(f"{url}/public", texts.append)
    now = time.monotonic()
    socket.tick(now + 19)
    socket.tick(now + 21)
    socket.send(b'{"id":"1","op":"subscribe","args":[{"channel":"trades","instId":"BTC-USDT"}]}')
    await until(lambda: len(texts) == 2, "the acknowledgement and a trade")
    assert server.pings == 1
    socket.tick(now + 30)
    assert not socket.ended.done()
    socket.tick(now + 60)
    socket.tick(now + 69)
    assert await socket.ended == "no answer to ping in 8 s"
    await runner.cleanup()


async def test_notice_64008_moves_before_the_connection_breaks():
    """The new connection is subscribed and live before the old one is closed, and nothing falls between."""
    server = Scripted()
    runner, url = await server.start()
    async with listening(url, ("BTC-USDT",)) as listener:
        await until(lambda: listener.count("live"), "live")
        old = server.sockets[0]
        await old.send_json({"event": "notice", "code": "64008", "msg": "soon", "connId": "a"})
        await until(lambda: listener.count("live") == 2, "live on the new connection")
        await until(lambda: old.closed, "the old connection closed")
        assert len(server.sockets) == 2
        await server.push(server.sockets[1])
        await until(lambda: listener.trades[-1].trade_id == server.next_id, "the trade on the new one")
        assert [state for state, _ in listener.states] == ["connecting", "live", "moving", "live"]
        received = [trade.trade_id for trade in listener.trades]
        assert sorted(set(received)) == list(range(101, server.next_id + 1))
    await runner.cleanup()


async def test_a_message_in_pieces_is_put_together():
    """A push that comes as continuation frames is one message."""
    server = Scripted()
    runner, url = await server.start()
    async with listening(url, ("BTC-USDT",)) as listener:
        await until(lambda: listener.trades, "the first trade")
        whole = json.dumps(
            {
                "arg": {"channel": "trades", "instId": "BTC-USDT"},
                "data": [
                    {
                        "instId": "BTC-USDT",
                        "tradeId": "999",
                        "px": "1",
                        "sz": "1",
                        "side": "sell",
                        "ts": "1789000000001",
                        "count": "1",
                    }
                ],
            }
        ).encode()
        transport = server.sockets[0]._req.transport  # type: ignore[union-attr]
        assert transport is not None
        parts = [whole[:40], whole[40:90], whole[90:]]
        for number, part in enumerate(parts):
            opcode = (0x80 if number == 2 else 0) | (1 if number == 0 else 0)
            length = bytes([len(part)]) if len(part) < 126 else b"\x7e" + len(part).to_bytes(2, "big")
            transport.write(bytes([opcode]) + length + part)
        await until(lambda: listener.trades[-1].trade_id == 999, "the trade in pieces")
    await runner.cleanup()


async def test_garbage_is_counted_and_passed_over():
    """What is no OKX message neither ends the connection nor reaches the receiver."""
    server = Scripted()
    runner, url = await server.start()
    async with listening(url, ("BTC-USDT",)) as listener:
        await until(lambda: listener.trades, "the first trade")
        await server.sockets[0].send_str("<html>")
        await server.sockets[0].send_bytes(b"\xff\x00")
        await server.push(server.sockets[0])
        await until(lambda: len(listener.trades) == 2, "the trade after the garbage")
        assert listener.feed.codec.unknown == {"not JSON": 2}
        assert listener.count("reconnecting") == 0
    await runner.cleanup()


async def test_the_reason_of_a_close_is_told():
    """A close code of OKX is part of the state's detail."""
    server = Scripted()
    runner, url = await server.start()
    async with listening(url, ("BTC-USDT",)) as listener:
        await until(lambda: listener.count("live"), "live")
        await server.sockets[0].close(code=4004, message=b"no data received in 30s")
        await until(lambda: listener.count("live") == 2, "live again")
        told = [detail for state, detail in listener.states if state == "reconnecting"]
        assert "4004" in told[0]
        assert "no data received" in told[0]
    await runner.cleanup()
