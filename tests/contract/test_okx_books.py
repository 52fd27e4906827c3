"""Order books from a server that speaks OKX's protocol, over lines good and bad, and what reaches the bus."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from core.errors import Unavailable
from live.books import BookKeeper
from pipelines.bus.books import channel, read_book
from pipelines.bus.memory import MemoryBus
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.book import OrderBook
from pipelines.exchanges.okx.books import BookChannel, OkxBookFeed
from pipelines.exchanges.okx.codec import Codec
from pipelines.exchanges.okx.frames import BookPush, Level
from pipelines.exchanges.okx.hosts import Hosts
from pipelines.exchanges.okx.socket import dial
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve
from tests.contract.test_okx_feed import START_MS, until

SYMBOLS = ("BTC-USDT", "ETH-USDT")
BAD_LINE = {"seed": 2, "gap": 0.08, "duplicate": 0.08, "reorder": 0.08, "garbage": 0.08}

Levels = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]


@contextlib.asynccontextmanager
async def exchange(**options: Any) -> AsyncIterator[RunningSim]:
    sim = await serve(SimOptions(**{"seed": 5, "start_ms": START_MS, "speed": 20, **options}))
    try:
        yield sim
    finally:
        await sim.close()


class Reader:
    """A book feed that runs, and every state of a book that it told."""

    def __init__(self, ws_url: str, kind: BookChannel = "books", symbols: tuple[str, ...] = SYMBOLS) -> None:
        self.states: dict[str, dict[int | None, Levels]] = {symbol: {} for symbol in symbols}
        self.told: list[tuple[str, str]] = []
        self.feed = OkxBookFeed(Hosts([ws_url]), kind, Backoff(first_s=0.05, longest_s=0.2))
        self._task = asyncio.create_task(
            self.feed.run(symbols, self._on_book, lambda state, detail: self.told.append((state, detail)))
        )

    def _on_book(self, book: OrderBook) -> None:
        self.states[book.symbol][book.sequence] = (sizes(book.bids), sizes(book.asks))

    async def __aenter__(self) -> "Reader":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def sizes(side: dict[Decimal, Level]) -> dict[Decimal, Decimal]:
    return {price: level.size for price, level in side.items()}


async def fresh_snapshot(ws_url: str, symbol: str) -> tuple[int | None, Levels]:
    """(sequence, levels) of the exchange's own book now, as it tells whoever subscribes."""
    texts: asyncio.Queue[bytes] = asyncio.Queue()
    socket = await dial(f"{ws_url}/public", texts.put_nowait)
    socket.send(b'{"op":"subscribe","args":[{"channel":"books","instId":"%s"}]}' % symbol.encode())
    while not isinstance(push := Codec().decode(await texts.get()), BookPush):
        pass
    socket.close("read")
    (book,) = push.books
    assert push.action == "snapshot"
    assert book.prev_seq_id == -1
    return book.seq_id, tuple({level.price: level.size for level in side} for side in (book.bids, book.asks))


@pytest.mark.parametrize("faults", [{}, BAD_LINE], ids=["good line", "bad line"])
async def test_kept_books_are_the_exchanges_own(faults: dict[str, Any]):
    """Whatever is lost, doubled, disordered or garbled on the way: each state that is told is, level by
    level, the one the exchange tells a new subscriber under the same number."""
    async with exchange(faults=faults, connection_limits=False) as sim, Reader(sim.ws_url) as reader:
        compared = 0
        for symbol in SYMBOLS * 2:
            seen = len(reader.states[symbol])
            await until(lambda: len(reader.states[symbol]) > seen + 5, "changes of the book")  # noqa: B023
            sim.server.set_faults({})
            sequence, levels = await fresh_snapshot(sim.ws_url, symbol)
            sim.server.set_faults(faults)
            with contextlib.suppress(AssertionError):
                # On a bad line exactly this state may have been lost.
                await until(lambda: sequence in reader.states[symbol], "the same number", 1)  # noqa: B023
            if sequence in reader.states[symbol]:
                assert reader.states[symbol][sequence] == levels
                compared += 1
        assert compared >= (1 if faults else 4)
        assert bool(reader.feed.resyncs) == bool(faults)
        assert bool(reader.feed.codec.unknown) == bool(faults)


async def test_an_unchanged_book_is_confirmed_and_stays_what_it_was():
    """A push without levels, its number that of the one before: no change, no gap, and a book that lives."""
    async with exchange(speed=0.0001, book_heartbeat_s=0.15) as sim, Reader(sim.ws_url) as reader:
        await until(lambda: reader.feed.pushes >= 4 * len(SYMBOLS), "confirmations")
        assert [len(states) for states in reader.states.values()] == [1] * len(SYMBOLS)
        assert reader.feed.resyncs == 0
        sequence, levels = await fresh_snapshot(sim.ws_url, "BTC-USDT")
        assert reader.states["BTC-USDT"] == {sequence: levels}


async def test_numbers_that_begin_anew_after_maintenance_cost_no_book():
    """One push whose number is below that of the one before: it is taken, and what follows it as well."""
    async with exchange() as sim, Reader(sim.ws_url) as reader:
        await until(lambda: all(reader.states.values()), "books")
        at_s = (sim.now_ms() - START_MS) / 1000 + 2
        sim.server.set_faults({"script": [{"at_s": at_s, "fault": "book_reset"}]})
        for symbol in SYMBOLS:
            await until(lambda: {1, 2, 3} <= reader.states[symbol].keys(), "small numbers")  # noqa: B023
            assert max(number or 0 for number in reader.states[symbol]) > 3
        sequence, levels = await fresh_snapshot(sim.ws_url, "BTC-USDT")
        assert sequence is not None
        await until(lambda: sequence in reader.states["BTC-USDT"], "the same number")
        assert reader.states["BTC-USDT"][sequence] == levels
        assert reader.feed.resyncs == 0


@pytest.mark.parametrize(("kind", "depth"), [("books5", 5), ("bbo-tbt", 1)])
async def test_whole_books_of_few_levels(kind: BookChannel, depth: int):
    """books5 and bbo-tbt bring five levels and one, whole each time, bids below asks."""
    async with exchange() as sim, Reader(sim.ws_url, kind) as reader:
        await until(lambda: all(len(states) > 5 for states in reader.states.values()), "books")
        for states in reader.states.values():
            for bids, asks in states.values():
                assert (len(bids), len(asks)) == (depth, depth)
                assert max(bids) < min(asks)
        assert reader.feed.resyncs == 0


async def test_a_symbol_not_served_is_named_and_the_others_are_kept():
    """One refused symbol is told with its remedy; alone it ends the connection, which is dialled again."""
    async with exchange() as sim:
        async with Reader(sim.ws_url, symbols=("NOPE-USDT", "BTC-USDT")) as reader:
            await until(lambda: reader.states["BTC-USDT"], "the other book")
            (refused,) = [detail for state, detail in reader.told if state == "refused"]
            assert "NOPE-USDT" in refused
            assert "TCP_OKX_WS_URL" in refused
        async with Reader(sim.ws_url, symbols=("NOPE-USDT",)) as alone:
            await until(lambda: [s for s, _ in alone.told].count("reconnecting") > 1, "attempts")
            assert "live" not in dict(alone.told)


async def test_books_come_back_after_a_restart_of_the_exchange(unused_port: int):
    """The connection is lost and dialled again with back-off; what is told meanwhile is nothing."""
    async with exchange(port=unused_port) as sim, Reader(sim.ws_url) as reader:
        await until(lambda: all(reader.states.values()), "books before")
        await sim.close()
        await until(lambda: [s for s, _ in reader.told].count("reconnecting") > 1, "attempts")
        seen = {symbol: len(states) for symbol, states in reader.states.items()}
        async with exchange(port=unused_port):
            await until(
                lambda: all(len(reader.states[symbol]) > count for symbol, count in seen.items()), "books"
            )


class AwayBus(MemoryBus):
    """A bus that can be told to be away."""

    away = False

    async def set_value(self, key: str, value: dict[str, Any], ttl_s: float | None = None) -> None:
        if self.away:
            raise Unavailable("told to be away")
        await super().set_value(key, value, ttl_s)


@contextlib.asynccontextmanager
async def keeping(ws_url: str, bus: AwayBus) -> AsyncIterator[BookKeeper]:
    feed = OkxBookFeed(Hosts([ws_url]), "books", Backoff(first_s=0.05, longest_s=0.2))
    keeper = BookKeeper(feed, SYMBOLS, bus)
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_best_five_levels_are_on_the_bus():
    """Under book:{symbol} and on the channel of that name: five levels a side, best first, never crossed, at
    most a few times a second; a bus that was away gets the newest book when it is back."""
    bus = AwayBus()
    messages: list[dict[str, Any]] = []

    async def listen() -> None:
        async for name, message in bus.subscribe([channel("BTC-USDT")]):
            if name != "bus":
                messages.append(message)

    listening = asyncio.create_task(listen())
    async with exchange() as sim, keeping(sim.ws_url, bus) as keeper:
        await until(lambda: len(messages) >= 3, "three messages")
        for message in messages:
            bids, asks = [price for price, _ in message["bids"]], [price for price, _ in message["asks"]]
            assert (len(bids), len(asks)) == (5, 5)
            assert asks == sorted(asks)
            assert bids == sorted(bids, reverse=True)
            assert bids[0] < asks[0]
        bus.away = True
        pushes = keeper.health()["pushes"]
        await until(lambda: keeper.health()["pushes"] > pushes + 20, "pushes while the bus is away")
        bus.away = False
        published = keeper.health()["published"]
        await until(lambda: keeper.health()["published"] >= published + 2, "books after it")
        newest = await read_book(bus, "ETH-USDT")
        assert newest is not None
        assert newest["symbol"] == "ETH-USDT"
        health = keeper.health()
        assert (health["state"], health["channel"], set(health["age_s"])) == ("live", "books", set(SYMBOLS))
        # Ten pushes a second come in; four a second go out.
        assert health["published"] < health["pushes"] / 1.5
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)


async def test_a_bug_in_the_books_ends_nothing_else():
    """An error that nobody expected is logged, and the books start anew: the keeper's task goes on."""

    class Broken(OkxBookFeed):
        runs = 0

        async def run(self, *arguments: Any) -> None:
            self.runs += 1
            if self.runs == 1:
                raise ZeroDivisionError("a bug")
            await super().run(*arguments)

    async with exchange() as sim:
        keeper = BookKeeper(Broken(Hosts([sim.ws_url])), SYMBOLS, MemoryBus())
        task = asyncio.create_task(keeper.run())
        await until(lambda: keeper.health()["published"], "books after the bug")
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_switched_off_keeps_nothing():
    """Without a feed the keeper waits for ever and says so."""
    keeper = BookKeeper(None, SYMBOLS, MemoryBus())
    task = asyncio.create_task(keeper.run())
    await asyncio.sleep(0)
    assert not task.done()
    assert keeper.health() == {"channel": "off"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
