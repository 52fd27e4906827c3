"""Two sockets to one exchange: every trade once, and the death of one is not noticed by who reads."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from itertools import pairwise

import pytest

from config.settings import Settings
from core.trades import Side, Trade
from pipelines.exchanges.connect import make_feed
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.feed import OkxTradeFeed
from pipelines.exchanges.okx.limits import CONNECTIONS_PER_SECOND
from pipelines.exchanges.parallel import KEPT_IDS, ParallelFeed, Seen
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import serve
from tests.proxy import Proxy

SYMBOLS = ("BTC-USDT", "ETH-USDT")
START_MS = 1_789_000_000_000


class Listener:
    """A feed that runs, and what it said."""

    def __init__(self, feed: ParallelFeed) -> None:
        self.trades: list[Trade] = []
        self.states: list[tuple[str, str]] = []
        self.task = asyncio.create_task(feed.run(SYMBOLS, self.trades.extend, self._state))

    def _state(self, state: str, detail: str) -> None:
        self.states.append((state, detail))

    def count(self, state: str) -> int:
        return sum(1 for name, _ in self.states if name == state)


@contextlib.asynccontextmanager
async def listening(feed: ParallelFeed) -> AsyncIterator[Listener]:
    listener = Listener(feed)
    try:
        yield listener
    finally:
        listener.task.cancel()
        await asyncio.gather(listener.task, return_exceptions=True)


async def until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.02)


def ids(trades: list[Trade], symbol: str) -> list[int]:
    return [i for t in trades if t.symbol == symbol for i in range(t.first_id, t.trade_id + 1)]


def quick(ws_url: str) -> OkxTradeFeed:
    return OkxTradeFeed(ws_url, backoff=Backoff(first_s=0.05, longest_s=0.2))


async def test_of_two_sockets_each_trade_is_handed_on_once_and_in_order():
    sim = await serve(SimOptions(seed=5, start_ms=START_MS, speed=200))
    feed = ParallelFeed([quick(sim.ws_url), quick(sim.ws_url)])
    async with listening(feed) as listener:
        await until(lambda: all(len(ids(listener.trades, s)) > 300 for s in SYMBOLS), "300 matches a symbol")
        trades = list(listener.trades)
    await sim.close()
    for symbol in SYMBOLS:
        assert all(b == a + 1 for a, b in pairwise(ids(trades, symbol)))
    assert feed.duplicates > 100
    assert [detail[-16:] for state, detail in listener.states if state == "live"] == [
        "(1 of 2 sockets)",
        "(2 of 2 sockets)",
    ]


async def test_a_socket_that_dies_is_not_noticed_by_who_reads():
    """One of the two goes through a proxy that is cut and restored twice: no id is missing, the state never
    leaves live, and both are there again at the end."""
    sim = await serve(SimOptions(seed=5, start_ms=START_MS, speed=200))
    address = sim.ws_url.replace("/ws/v5", "")
    async with Proxy(address) as proxy:
        port = proxy.url.rsplit(":", 1)[1].strip("/")
        feed = ParallelFeed([quick(sim.ws_url), quick(f"ws://127.0.0.1:{port}/ws/v5")])
        async with listening(feed) as listener:
            await until(lambda: listener.count("live") == 2, "both live")
            for n in (3, 4):
                await proxy.cut()
                await until(lambda: listener.states[-1][0] == "degraded", "the loss told")
                seen = len(listener.trades)
                await until(lambda s=seen: len(listener.trades) > s + 50, "trades on the other one")
                await proxy.restore()
                await until(lambda n=n: listener.count("live") == n, "live again")
            trades = list(listener.trades)
    await sim.close()
    for symbol in SYMBOLS:
        assert all(b == a + 1 for a, b in pairwise(ids(trades, symbol)))
    assert {state for state, _ in listener.states} == {"connecting", "live", "degraded"}


async def test_when_all_sockets_are_gone_the_state_says_so(unused_port):
    sim = await serve(SimOptions(seed=5, start_ms=START_MS, speed=200, port=unused_port))
    async with listening(ParallelFeed([quick(sim.ws_url), quick(sim.ws_url)])) as listener:
        await until(lambda: listener.count("live") == 2, "both live")
        await sim.close()
        await until(lambda: listener.count("reconnecting") >= 1, "the loss of both")


async def test_the_error_of_a_receiver_ends_both():
    sim = await serve(SimOptions(seed=5, start_ms=START_MS, speed=200))

    def broken(trades: list[Trade]) -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        await ParallelFeed([quick(sim.ws_url), quick(sim.ws_url)]).run(SYMBOLS, broken, lambda s, d: None)
    await sim.close()


async def test_many_sockets_to_one_host_share_its_budget_of_connections():
    """Seven at once: three in each second, counted from before the first of them, for each may be late. The
    host refuses what is too early, and with a budget each it would at once, again and again."""
    sim = await serve(SimOptions(seed=5, start_ms=START_MS, speed=200))
    began = time.monotonic()
    async with listening(ParallelFeed([quick(sim.ws_url) for _ in range(7)])) as listener:
        await until(lambda: listener.count("live") == 7, "seven live")
        took_s = time.monotonic() - began
    await sim.close()
    assert took_s > 6 // CONNECTIONS_PER_SECOND
    assert not [detail for _, detail in listener.states if "429" in detail]


def test_an_interval_is_new_once_and_another_cut_of_the_same_ids_is_passed_on():
    """An aggregate and its single matches are not the same: the receiver decides what to make of them."""
    seen = Seen(kept=2)
    trade = Trade("BTC-USDT", 10, START_MS, Decimal(1), Decimal(1), Side.BUY, 3)
    single = Trade("BTC-USDT", 10, START_MS, Decimal(1), Decimal(1), Side.BUY, 1)
    assert [seen.is_new(t) for t in (trade, trade, single, single)] == [True, False, True, False]
    assert KEPT_IDS > 1_000


def test_the_number_of_sockets_is_a_setting():
    urls = {"okx_ws_url": "ws://127.0.0.1:1/ws/v5", "okx_rest_url": "http://127.0.0.1:1"}
    assert isinstance(make_feed(Settings(**urls, okx_sockets=1)), OkxTradeFeed)
    assert isinstance(make_feed(Settings(**urls)), ParallelFeed)
