"""The live half of the exchange port: every adapter's feed brings the exchange's trades, and comes back."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from itertools import pairwise
from typing import Any

import pytest

from core.trades import Trade
from pipelines.exchanges.okx.watch import Patience
from tests.exchange_port import ADAPTERS, SYMBOLS, Adapter, Listener, exchange, listening, raw_trades, until

pytestmark = pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=list(ADAPTERS))


async def test_live_trades_are_those_of_the_exchange(adapter: Adapter):
    """Ids without a hole; each trade has the size, price, side and time of the `count` matches it covers."""
    async with exchange(speed=400) as sim, listening(adapter, sim) as listener:
        await until(lambda: all(len(listener.of(symbol)) > 150 for symbol in SYMBOLS), "150 trades a symbol")
        states = [state for state, _ in listener.states]
        assert states == ["connecting", "live"]
        for symbol in SYMBOLS:
            live = listener.of(symbol)
            assert all(b.first_id == a.trade_id + 1 for a, b in pairwise(live))
            assert {trade.source for trade in live} == {"websocket"}
            matches = {
                match.trade_id: match
                for match in await raw_trades(sim, symbol, live[0].first_id, live[-1].trade_id)
            }
            for trade in live:
                covered = [matches[i] for i in range(trade.first_id, trade.trade_id + 1)]
                assert trade.size == sum(match.size for match in covered)
                assert {(trade.price, trade.side, trade.timestamp_ms)} == {
                    (match.price, match.side, match.timestamp_ms) for match in covered
                }
        assert any(trade.count > 1 for trade in listener.trades)


async def test_a_feed_comes_back_after_disconnects(adapter: Adapter):
    """Cut sockets are told with a reason, and what the feed missed is to be had by id."""
    faults = {"seed": 3, "disconnect": {"every_s": 1.0}}
    async with (
        exchange(speed=400, faults=faults, connection_limits=False) as sim,
        listening(adapter, sim) as listener,
    ):
        await until(lambda: listener.count("live") >= 3 and len(listener.of("BTC-USDT")) > 300, "three lives")
        assert listener.count("reconnecting") >= 2
        assert all(detail for state, detail in listener.states if state == "reconnecting")
        rest = adapter.rest(sim.rest_url)
        live = {i for t in listener.of("BTC-USDT") for i in range(t.first_id, t.trade_id + 1)}
        refilled = {t.trade_id for t in await rest.trades_by_id("BTC-USDT", min(live), max(live))}
        assert live <= refilled == set(range(min(live), max(live) + 1))
        await rest.close()


async def test_a_restart_of_the_exchange_is_survived(adapter: Adapter, unused_port: int):
    """The server goes away and comes back on the same port: trades arrive again without being asked."""
    async with exchange(speed=100, port=unused_port) as sim:
        listener = Listener(adapter.feed(sim.rest_url, sim.ws_url, Patience()), SYMBOLS)
        await until(lambda: listener.count("live") and listener.trades, "trades before the restart")
    await until(lambda: listener.count("reconnecting") >= 2, "attempts while nobody is there")
    seen = len(listener.trades)
    async with exchange(speed=100, port=unused_port):
        await until(lambda: len(listener.trades) > seen + 50, "trades after the restart")
        await until(lambda: listener.count("live") >= 2, "live again")
        listener.task.cancel()
        await asyncio.gather(listener.task, return_exceptions=True)


async def test_a_refused_symbol_is_named_and_the_others_work(adapter: Adapter):
    """Told once, by name."""
    async with exchange(speed=100) as sim, listening(adapter, sim, ("NOPE-USDT", "BTC-USDT")) as listener:
        await until(lambda: listener.count("live") and len(listener.trades) > 20, "trades of the other")
        refused = [detail for state, detail in listener.states if state == "refused"]
        assert len(refused) == 1
        assert "NOPE-USDT" in refused[0]
        assert Counter(trade.symbol for trade in listener.trades).keys() == {"BTC-USDT"}


async def test_a_silent_subscription_is_noticed(adapter: Adapter):
    """Acknowledged and open, but nothing comes although the market trades: told by the symbol's name."""
    faults = {"seed": 3, "silence": {"every_s": 1.0, "for_s": 600.0}}
    async with (
        exchange(speed=100, faults=faults) as sim,
        listening(adapter, sim, ("BTC-USDT",), Patience(first_s=0.5, longest_s=0.5)) as listener,
    ):
        await until(lambda: listener.count("silent"), "silent")
        assert "BTC-USDT" in next(detail for state, detail in listener.states if state == "silent")


async def test_an_error_of_the_receiver_ends_the_feed(adapter: Adapter):
    """A bug in the code that takes the trades is raised by `run`, not swallowed."""

    def broken(trades: list[Trade]) -> None:
        raise ZeroDivisionError("a bug")

    async with exchange(speed=100) as sim:
        feed = adapter.feed(sim.rest_url, sim.ws_url, Patience())
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(20):
                await feed.run(SYMBOLS, broken, lambda state, detail: None)


async def test_a_cancelled_feed_ends_at_once(adapter: Adapter):
    """In any state; its connections are closed."""
    async with exchange(speed=100) as sim:
        feed = adapter.feed(sim.rest_url, sim.ws_url, Patience())
        listener = Listener(feed, SYMBOLS)
        await until(lambda: listener.trades, "trades")
        listener.task.cancel()
        waited: Awaitable[Any] = asyncio.gather(listener.task, return_exceptions=True)
        async with asyncio.timeout(5):
            await waited
