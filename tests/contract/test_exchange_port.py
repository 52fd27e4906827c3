"""The exchange port: every adapter shows the same market, which is the one that the exchange's own rows tell.

Both the native OKX adapter and ccxt's OKX behind our port are asked about one simulated exchange, and each
answer is compared with its raw rows.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import aiohttp
import pytest

from core.candles import Candle
from core.errors import BadInput, Unavailable
from core.instruments import Instrument
from core.timeframes import Timeframe
from core.trades import Side, Trade
from pipelines.exchanges.base import ExchangeRest, TradeFeed
from pipelines.exchanges.ccxt.feed import CcxtTradeFeed
from pipelines.exchanges.ccxt.rest import CcxtRest
from pipelines.exchanges.okx.backoff import Backoff
from pipelines.exchanges.okx.feed import OkxTradeFeed
from pipelines.exchanges.okx.requests import Requester
from pipelines.exchanges.okx.rest import BARS, OkxRest
from pipelines.exchanges.okx.watch import Patience
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve

START_MS = 1_789_000_000_000 - 1_789_000_000_000 % 86_400_000 + 45_296_789
MINUTE, DAY = 60_000, 86_400_000
SYMBOLS = ("BTC-USDT", "ETH-USDT", "SOL-USDT")


async def at_once(seconds: float) -> None:
    """A sleep between attempts that does not wait."""
    await asyncio.sleep(0)


class Adapter(NamedTuple):
    """How to make both halves of the port for an exchange at (rest url, ws url)."""

    rest: Callable[[str], ExchangeRest]
    feed: Callable[[str, str, Patience], TradeFeed]


def _backoff() -> Backoff:
    return Backoff(first_s=0.05, longest_s=0.2)


ADAPTERS = {
    "okx": Adapter(
        rest=lambda url: OkxRest(url, Requester(url, budgets={}, sleep=at_once)),
        feed=lambda url, ws_url, patience: OkxTradeFeed(ws_url, backoff=_backoff(), patience=patience),
    ),
    "ccxt": Adapter(
        rest=lambda url: CcxtRest("okx", {"rest": url}, sleep=at_once, rate_limit=False),
        feed=lambda url, ws_url, patience: CcxtTradeFeed(
            "okx", {"rest": url, "ws": ws_url}, backoff=_backoff(), patience=patience
        ),
    ),
}


@pytest.fixture(params=list(ADAPTERS))
def adapter(request: pytest.FixtureRequest) -> Adapter:
    """Each adapter in turn."""
    return ADAPTERS[request.param]


@contextlib.asynccontextmanager
async def exchange(**options: Any) -> AsyncIterator[RunningSim]:
    """A simulated exchange whose REST limits are out of the way."""
    sim = await serve(SimOptions(**{"seed": 11, "start_ms": START_MS, "rate_limit": 0, **options}))
    try:
        yield sim
    finally:
        await sim.close()


@contextlib.asynccontextmanager
async def asking(adapter: Adapter, **options: Any) -> AsyncIterator[tuple[RunningSim, ExchangeRest]]:
    async with exchange(**options) as sim:
        rest = adapter.rest(sim.rest_url)
        try:
            yield sim, rest
        finally:
            await rest.close()


async def raw(sim: RunningSim, path: str, **parameters: str | int) -> list[Any]:
    """`data` of the exchange's own answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{sim.rest_url}/api/v5/{path}", params=parameters) as response,
    ):
        answer = await response.json()
    assert answer["code"] == "0", answer
    return answer["data"]


def trade_of(row: dict[str, str]) -> Trade:
    """A raw row as it is to arrive."""
    return Trade(
        row["instId"],
        int(row["tradeId"]),
        int(row["ts"]),
        Decimal(row["px"]),
        Decimal(row["sz"]),
        Side(row["side"]),
        1,
        "rest",
    )


async def raw_trades(sim: RunningSim, symbol: str, first_id: int, last_id: int) -> list[Trade]:
    """The exchange's matches first_id … last_id, page by page."""
    found: dict[int, Trade] = {}
    after = last_id + 1
    while after > first_id:
        rows = await raw(sim, "market/history-trades", instId=symbol, type=1, after=after)
        found.update((int(row["tradeId"]), trade_of(row)) for row in rows)
        after = int(rows[-1]["tradeId"])
    return [found[i] for i in range(first_id, last_id + 1)]


# --- by request


async def test_instruments_are_those_of_the_exchange(adapter: Adapter):
    """Names, tick, lot and minimum of every spot pair, exact."""
    async with asking(adapter) as (sim, rest):
        rows = await raw(sim, "public/instruments", instType="SPOT")
        assert sorted(await rest.instruments(), key=lambda i: i.symbol) == [
            Instrument(
                row["instId"],
                row["baseCcy"],
                row["quoteCcy"],
                Decimal(row["tickSz"]),
                Decimal(row["lotSz"]),
                Decimal(row["minSz"]),
                row["state"],
            )
            for row in sorted(rows, key=lambda row: row["instId"])
        ]
        assert len(rows) > 3
        assert rest.consecutive_ids


async def test_the_time_is_the_exchanges(adapter: Adapter):
    """Virtual here, months away from this machine's."""
    async with asking(adapter) as (sim, rest):
        before = sim.now_ms()
        assert before <= await rest.server_time_ms() <= sim.now_ms()


@pytest.mark.parametrize("timeframe", list(Timeframe))
async def test_candles_equal_the_exchanges_rows_to_the_digit(adapter: Adapter, timeframe: Timeframe):
    """Labelled by their close, every one once, oldest first, over several pages; days are UTC days."""
    wanted = 700 if timeframe is Timeframe.M1 else 40
    async with asking(adapter) as (sim, rest):
        end = timeframe.open_ms(START_MS) - 2 * timeframe.ms
        start = end - wanted * timeframe.ms
        rows: list[list[str]] = []
        while len(rows) < wanted:
            after = int(rows[-1][0]) if rows else end
            rows += await raw(
                sim,
                "market/history-candles",
                instId="BTC-USDT",
                bar=BARS[timeframe],
                after=after,
                limit=min(300, wanted - len(rows)),
            )
        expected = [
            Candle(
                "BTC-USDT",
                timeframe,
                int(row[0]) + timeframe.ms,
                *map(Decimal, row[1:6]),  # type: ignore[arg-type]
                source="exchange",
            )
            for row in reversed(rows)
        ]
        assert await rest.candles("BTC-USDT", timeframe, start, end) == expected
        assert expected[0].close_ms == start + timeframe.ms and expected[-1].close_ms == end
        # A beginning and an end inside candles ask for those that close between them.
        inside = await rest.candles("BTC-USDT", timeframe, start + 1, end - 1)
        assert inside == expected[:-1]


@pytest.mark.parametrize("faults", [{}, {"late_candle": {"share": 1.0, "by_s": 90}}], ids=["", "late"])
async def test_no_running_candle_and_every_confirmed_one(adapter: Adapter, faults: dict[str, Any]):
    """Up to the future and beyond: what is there ends with the last row that the exchange calls confirmed."""
    now = START_MS - 40_000  # 16 s into a minute
    since = now - 10 * MINUTE
    async with asking(adapter, faults=faults, start_ms=now) as (sim, rest):
        found = await rest.candles("ETH-USDT", Timeframe.M1, since, now + DAY)
        rows = await raw(sim, "market/candles", instId="ETH-USDT", bar="1m", limit=20)
        closes = [int(row[0]) + MINUTE for row in rows if row[8] == "1"]
        confirmed = [close_ms for close_ms in closes if close_ms > since]
        assert [candle.close_ms for candle in found] == confirmed[::-1]
        assert len(found) == (8 if faults else 10)


async def test_recent_trades_equal_the_exchanges_rows(adapter: Adapter):
    """The newest 500, or fewer when fewer are asked for, oldest first."""
    async with asking(adapter, speed=0.001) as (sim, rest):
        rows = await raw(sim, "market/trades", instId="SOL-USDT", limit=500)
        expected = [trade_of(row) for row in reversed(rows)]
        assert len(expected) == 500
        assert await rest.recent_trades("SOL-USDT") == expected
        assert await rest.recent_trades("SOL-USDT", 7) == expected[-7:]


async def test_trades_by_id_equal_the_exchanges_rows(adapter: Adapter):
    """1,234 ids over a dozen pages, the newest included; those of the future are left out."""
    async with asking(adapter, speed=0.001) as (sim, rest):
        newest = int((await raw(sim, "market/trades", instId="BTC-USDT", limit=1))[0]["tradeId"])
        expected = await raw_trades(sim, "BTC-USDT", newest - 1_233, newest)
        assert await rest.trades_by_id("BTC-USDT", newest - 1_233, newest) == expected
        assert await rest.trades_by_id("BTC-USDT", newest - 4, newest + 100_000) == expected[-5:]
        assert await rest.trades_by_id("BTC-USDT", newest + 10, newest + 20) == []


async def test_pages_by_time_hold_exactly_the_range(adapter: Adapter):
    """The newest page first, oldest first inside; with `before_id` only smaller ids."""
    start, end = START_MS - 3_600_000, START_MS - 1_800_000
    async with asking(adapter) as (sim, rest):
        pages = [page async for page in rest.trade_pages("BTC-USDT", start, end)]
        found = [trade for page in reversed(pages) for trade in page]
        first, last = found[0].trade_id, found[-1].trade_id
        around = await raw_trades(sim, "BTC-USDT", first - 1, last + 1)
        assert found == around[1:-1]
        assert around[0].timestamp_ms < start and around[-1].timestamp_ms >= end
        middle = found[len(found) // 2].trade_id
        earlier = [page async for page in rest.trade_pages("BTC-USDT", start, end, middle)]
        assert [t for page in reversed(earlier) for t in page] == [t for t in found if t.trade_id < middle]


@pytest.mark.parametrize("ask", ["candles", "recent_trades"])
async def test_a_symbol_that_is_not_listed_is_named(adapter: Adapter, ask: str):
    """It is the caller's mistake, and not tried again."""
    arguments = (Timeframe.M1, START_MS - DAY, START_MS) if ask == "candles" else ()
    async with asking(adapter) as (_, rest):
        with pytest.raises(BadInput, match="NOPE-USDT"):
            await getattr(rest, ask)("NOPE-USDT", *arguments)


async def test_passing_refusals_are_not_seen_outside(adapter: Adapter):
    """One answer in five is 429 and one in ten 500: what is asked for comes all the same, and is complete."""
    async with asking(adapter, faults={"seed": 4, "http_429": 0.2, "http_500": 0.1}) as (_, rest):
        end = START_MS - START_MS % MINUTE
        candles = await rest.candles("BTC-USDT", Timeframe.M1, end - 3_000 * MINUTE, end)
        assert len(candles) == 3_000
        newest = (await rest.recent_trades("BTC-USDT"))[-1].trade_id
        assert len(await rest.trades_by_id("BTC-USDT", newest - 1_999, newest)) == 2_000


@pytest.mark.parametrize("fault", ["http_429", "http_500"])
async def test_a_lasting_refusal_is_unavailable(adapter: Adapter, fault: str):
    """It is given up after some attempts, with an error of ours."""
    async with asking(adapter, faults={fault: 1.0}) as (_, rest):
        with pytest.raises(Unavailable, match="attempts"):
            await rest.recent_trades("BTC-USDT")


async def test_nobody_there_is_unavailable(adapter: Adapter, unused_port: int):
    """A refused connection is named with the exchange or its address."""
    rest = adapter.rest(f"http://127.0.0.1:{unused_port}")
    with pytest.raises(Unavailable, match=r"okx|127\.0\.0\.1"):
        await rest.server_time_ms()
    await rest.close()


async def test_closing_twice_is_harmless_and_nothing_stays_open(adapter: Adapter):
    """Unclosed sessions would fail this suite as warnings."""
    async with asking(adapter) as (_, rest):
        await rest.server_time_ms()
        await rest.close()


# --- live


class Listener:
    """A feed that runs, and what it said."""

    def __init__(self, feed: TradeFeed, symbols: tuple[str, ...]) -> None:
        self.trades: list[Trade] = []
        self.states: list[tuple[str, str]] = []
        self.task = asyncio.create_task(
            feed.run(symbols, self.trades.extend, lambda *state: self.states.append(state))
        )

    def count(self, state: str) -> int:
        return sum(1 for name, _ in self.states if name == state)

    def of(self, symbol: str) -> list[Trade]:
        """Trades of a symbol, each once, by id."""
        return sorted(
            {t.trade_id: t for t in self.trades if t.symbol == symbol}.values(), key=lambda t: t.trade_id
        )


@contextlib.asynccontextmanager
async def listening(
    adapter: Adapter, sim: RunningSim, symbols: tuple[str, ...] = SYMBOLS, patience: Patience | None = None
) -> AsyncIterator[Listener]:
    feed = adapter.feed(sim.rest_url, sim.ws_url, patience or Patience())
    listener = Listener(feed, symbols)
    try:
        yield listener
    finally:
        listener.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listener.task


async def until(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Poll until it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not in {seconds} s: {what}"
        await asyncio.sleep(0.02)


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
