"""The craft of staying connected: limits kept, dead and wrong addresses left, silence and death noticed."""

import asyncio
import contextlib
import gc
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from core.errors import Unavailable
from core.trades import Trade
from pipelines.clock import ExchangeClock
from pipelines.exchanges.measured import Connections
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.books import OkxBookFeed
from pipelines.exchanges.okx.feed import OkxTradeFeed
from pipelines.exchanges.okx.hosts import Hosts
from pipelines.exchanges.okx.limits import SUBSCRIPTIONS_PER_HOUR
from pipelines.exchanges.okx.requests import Requester
from pipelines.exchanges.okx.rest import OkxRest
from pipelines.exchanges.okx.socket import Socket, dial
from pipelines.exchanges.okx.watch import Patience
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve
from tests.contract.test_okx_feed import START_MS, SYMBOLS, ids, until

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def exchange(**options: Any) -> AsyncIterator[RunningSim]:
    sim = await serve(SimOptions(seed=5, start_ms=START_MS, speed=200, **options))
    try:
        yield sim
    finally:
        await sim.close()


@contextlib.asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    """host:port of a server where `handler` answers everything."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Running:
    """A feed that runs, and what it said."""

    def __init__(self, *urls: str, symbols: tuple[str, ...] = SYMBOLS, **options: Any) -> None:
        self.trades: list[Trade] = []
        self.states: list[tuple[str, str]] = []
        self.delays: list[float] = []
        options.setdefault("backoff", Backoff(first_s=0.05, longest_s=0.2))
        self.feed = OkxTradeFeed(Hosts(urls), **options)
        self.task = asyncio.create_task(
            self.feed.run(symbols, self.trades.extend, lambda *said: self.states.append(said))
        )

    def told(self, state: str) -> list[str]:
        return [detail for name, detail in self.states if name == state]

    async def __aenter__(self) -> "Running":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


# --- the exchange's limits, kept by construction


async def test_three_dials_a_second_are_never_exceeded():
    """Seven feeds that begin at once all come to be live; not one dial is refused for its frequency."""
    async with exchange() as sim, contextlib.AsyncExitStack() as stack:
        started = time.monotonic()
        feeds = [await stack.enter_async_context(Running(sim.ws_url)) for _ in range(7)]
        await until(lambda: all(feed.told("live") for feed in feeds), "all live")
        assert time.monotonic() - started > 1.5
        assert not any(feed.told("reconnecting") for feed in feeds)


class Mute:
    """A server that acknowledges, answers each of the first `answers` subscriptions with a trade, and then
    is silent."""

    def __init__(self, answers: int) -> None:
        self.answers = answers
        self.requests: list[list[dict[str, Any]]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.requests.append([])
        async for message in socket:
            if message.type == WSMsgType.TEXT and message.data != "ping":
                asked = json.loads(message.data)
                self.requests[-1].append(asked)
                with contextlib.suppress(ConnectionError):
                    await self._answer(socket, asked)
        return socket

    async def _answer(self, socket: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        (argument,) = asked["args"]
        await socket.send_json({"event": asked["op"], "arg": argument, "id": asked["id"]})
        if asked["op"] == "subscribe" and self.answers > 0:
            self.answers -= 1
            row = {"instId": argument["instId"], "tradeId": "7", "px": "1", "sz": "1"}
            data = [{**row, "side": "buy", "ts": "1789000000000", "count": "1"}]
            await socket.send_json({"arg": argument, "data": data}, dumps=_compact)


def _compact(document: object) -> str:
    """JSON as OKX writes it."""
    return json.dumps(document, separators=(",", ":"))


async def test_480_requests_an_hour_are_never_exceeded():
    """Sixty subscriptions that are asked for again every second: before the connection's budget is used up a
    new connection takes over."""
    mute = Mute(answers=100_000)
    symbols = tuple(f"S{number}-USDT" for number in range(60))
    async with (
        server(mute.handle) as address,
        Running(f"ws://{address}/ws/v5", symbols=symbols, patience=Patience(0.01, 0.01)) as running,
    ):
        await until(lambda: len(mute.requests) > 1, "a second connection")
        # The last requests may be lost with the connection.
        assert SUBSCRIPTIONS_PER_HOUR * 0.8 < len(mute.requests[0]) <= SUBSCRIPTIONS_PER_HOUR
        assert "budget" in running.told("reconnecting")[0]


# --- silence and death


async def test_acknowledged_but_silent_is_replaced():
    """Silence, a new subscription that is acknowledged and not answered: a new connection."""
    mute = Mute(answers=1)
    async with (
        server(mute.handle) as address,
        Running(
            f"ws://{address}/ws/v5", symbols=("A-B",), patience=Patience(first_s=0.2, probe_s=0.2)
        ) as running,
    ):
        await until(lambda: len(mute.requests) > 1, "a second connection")
        assert [request["op"] for request in mute.requests[0]] == ["subscribe", "unsubscribe", "subscribe"]
        assert "A-B" in running.told("reconnecting")[0]
        assert len(running.told("silent")) >= 2


async def test_a_half_open_connection_is_noticed():
    """The other side is gone without a word, TCP stays: 20 s of silence, a ping, and 8 s later the end."""
    async with exchange() as sim:
        texts: list[bytes] = []
        socket = await dial(f"{sim.ws_url}/public", texts.append)
        socket.send(b'{"op":"subscribe","args":[{"channel":"trades","instId":"BTC-USDT"}]}')
        await until(lambda: len(texts) > 3, "trades")
        sim.server.set_faults({"half_open": {"every_s": 0.01}})
        heard = -1

        def is_quiet() -> bool:
            nonlocal heard
            quiet, heard = heard == len(texts), len(texts)
            return quiet

        while not is_quiet():
            await asyncio.sleep(0.3)
        now = time.monotonic()
        socket.tick(now)
        socket.tick(now + 21)
        socket.tick(now + 28)
        assert not socket.ended.done()
        socket.tick(now + 30)
        assert await socket.ended == "no answer to ping in 8 s"


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("kind", ["trades", "books"])
async def test_stopping_while_a_connection_is_lost_is_not_swallowed(kind: str, turns: int):
    """A daemon told to stop at the moment its exchange went away went on dialling for 36 minutes: whenever
    the cancellation comes, it ends what is cancelled."""
    async with exchange() as sim:
        live = asyncio.Event()
        if kind == "trades":
            run = OkxTradeFeed(sim.ws_url).run(SYMBOLS, lambda trades: live.set(), lambda *said: None)
        else:
            run = OkxBookFeed(Hosts([sim.ws_url])).run(SYMBOLS, lambda book: live.set(), lambda *said: None)
        task = asyncio.create_task(run)
        await live.wait()
        lost = asyncio.get_running_loop().create_future()
        for listener in _sockets():
            listener.ended.add_done_callback(lambda _: lost.done() or lost.set_result(None))
        sim.server.set_faults({"disconnect": {"every_s": 0.01}})
        await lost
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=2)
        ended, _ = task.cancelled(), task.cancel()
        assert ended


def _sockets() -> list[Socket]:
    """The open connections of this process. By `type`: a weak proxy of something gone has no class to ask."""
    return [thing for thing in gc.get_objects() if type(thing) is Socket and not thing.ended.done()]


# --- addresses that are dead or wrong


async def test_delays_grow_and_the_next_address_is_taken(unused_port: int):
    """Nobody answers at the first address: 1, 2, 4 s of delay, and then the next one, which is told."""
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    async with (
        exchange() as sim,
        Running(
            f"ws://127.0.0.1:{unused_port}/ws/v5",
            sim.ws_url,
            backoff=Backoff(uniform=lambda: 1.0),
            sleep=sleep,
        ) as running,
    ):
        await until(lambda: running.trades, "trades from the second address")
        assert delays == [1, 2, 4]
        assert [sim.ws_url in reason for reason in running.told("reconnecting")] == [False, False, True]
        assert running.feed.url == f"{sim.ws_url}/public"
        assert running.told("live") == [f"{sim.ws_url}/public"]


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, ["HTTP 404", "wseea.okx.com"]), (301, ["HTTP 301", "moved to wss://elsewhere/"])],
)
async def test_an_address_without_a_websocket_is_named_and_left_at_once(status: int, words: list[str]):
    """One message with the URL, the answer and the setting; the next address is tried after that one."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "wss://elsewhere/"})

    async with (
        server(refuse) as address,
        exchange() as sim,
        Running(f"ws://{address}/ws/v5", sim.ws_url) as running,
    ):
        await until(lambda: running.told("live"), "live at the second address")
        (reason,) = running.told("reconnecting")
        for word in (f"ws://{address}/ws/v5/public", "TCP_OKX_WS_URL", *words):
            assert word in reason


async def test_a_host_that_serves_none_of_the_symbols_is_never_live():
    """Every subscription refused (60018): it is told, never is it live, and the next address is tried."""
    async with exchange() as sim:
        other = f"{sim.ws_url.replace('127.0.0.1', 'localhost')}"
        async with Running(sim.ws_url, other, symbols=("NOPE-USDT",)) as running:
            await until(lambda: running.feed.hosts.current == other, "the next address")
            assert not running.told("live")
            assert "TCP_OKX_WS_URL" in running.told("refused")[0]
            assert "every subscription was refused" in running.told("reconnecting")[0]


async def test_rest_falls_back_too(unused_port: int):
    """A dead address is left after three attempts, a wrong one at once; 429 is no reason to leave."""
    attempts = 0

    async def refuse(request: web.Request) -> web.StreamResponse:
        nonlocal attempts
        attempts += 1
        return web.Response(status=429 if attempts < 4 else 404)

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    async with server(refuse) as address, exchange() as sim:
        hosts = Hosts([f"http://127.0.0.1:{unused_port}", f"http://{address}", sim.rest_url])
        rest = OkxRest(hosts, Requester(hosts, budgets={}, sleep=sleep, attempts=10))
        assert await rest.server_time_ms() >= START_MS
        assert (attempts, rest.url) == (4, sim.rest_url)
        await rest.close()


async def test_rest_names_a_wrong_address():
    """With nothing to fall back on: one error with the URL and the remedy; no redirect is followed."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        raise web.HTTPMovedPermanently("https://www.okx.com/api/v5/public/time")

    asked: list[str] = []
    async with server(refuse) as address:
        rest = OkxRest(f"http://{address}")
        with pytest.raises(Unavailable, match=r"HTTP 301, moved to https://www\.okx\.com.*TCP_OKX_REST_URL"):
            await rest.server_time_ms()
        await rest.close()
    assert asked == ["/api/v5/public/time"]


# --- what a connection is worth


async def test_what_a_connection_loses_and_repeats_is_counted():
    """Ids that never came and trades that came again, exactly; latency is measured; cuts are counted."""
    faults = {"seed": 4, "gap": 0.1, "duplicate": 0.1, "garbage": 0.05, "disconnect": {"every_s": 1}}
    async with exchange(faults=faults, connection_limits=False) as sim:
        clock = ExchangeClock()
        rest = OkxRest(sim.rest_url, Requester(sim.rest_url, budgets={}))
        for _ in range(4):
            asked = time.monotonic()
            clock.answer(await rest.server_time_ms(), asked, time.monotonic())
            await asyncio.sleep(0.25)
        feed = OkxTradeFeed(sim.ws_url, backoff=Backoff(first_s=0.05, longest_s=0.2))
        connections = Connections(clock)
        measured = connections.measured(feed, lambda: feed.url, lambda: feed.codec.unknown, counts_ids=True)
        (quality,) = connections.qualities
        trades: list[Trade] = []
        task = asyncio.create_task(measured.run(SYMBOLS, trades.extend, lambda state, detail: None))
        await until(lambda: quality.counts().reconnects >= 2 and len(trades) > 500, "two cuts")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await rest.close()
    counts = quality.counts()
    assert counts.trades == len(trades)
    received = {symbol: ids(trades, symbol) for symbol in SYMBOLS}
    missing = sum(max(seen) - min(seen) + 1 - len(set(seen)) for seen in received.values())
    assert counts.lost_ids == missing > 0
    assert counts.repeated == len(trades) - len({(t.symbol, t.trade_id) for t in trades}) > 0
    assert counts.unknown_frames == feed.codec.unknown.total() > 0
    document = quality.document()
    assert document["url"] == feed.url
    assert 0 <= document["latency_p50_ms"] <= document["latency_p99_ms"]
