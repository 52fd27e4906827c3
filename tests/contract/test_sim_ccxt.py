"""An unmodified ccxt takes the simulated exchange for OKX."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import ccxt.pro
import pytest

from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve

START_MS = 1_790_000_000_000
MINUTE_MS, DAY_MS = 60_000, 86_400_000


@pytest.fixture
async def running() -> AsyncIterator[RunningSim]:
    """An exchange at speed 60 with all of OKX's limits on."""
    started = await serve(SimOptions(start_ms=START_MS, speed=60))
    yield started
    await started.close()


@pytest.fixture
async def okx(running: RunningSim) -> AsyncIterator[Any]:
    """`ccxt.pro.okx` with nothing changed but its two addresses."""
    exchange = ccxt.pro.okx()
    exchange.urls["api"]["rest"] = running.rest_url
    exchange.urls["api"]["ws"] = running.ws_url
    yield exchange
    await exchange.close()


async def test_markets_load_with_okx_precisions(okx):
    """Ticks, lots and smallest sizes arrive as ccxt's precision and limits."""
    markets = await okx.load_markets()
    assert {"BTC/USDT", "ETH/USDT", "SOL/USDT"} <= markets.keys()
    bitcoin = markets["BTC/USDT"]
    assert (bitcoin["spot"], bitcoin["active"]) == (True, True)
    assert (bitcoin["precision"]["price"], bitcoin["precision"]["amount"]) == (0.1, 1e-8)
    assert bitcoin["limits"]["amount"]["min"] == 1e-5


async def test_candles_are_fetched_near_and_far(okx, running):
    """The newest minutes, days years back at UTC midnights, and hours that add up to those days."""
    newest = await okx.fetch_ohlcv("BTC/USDT", "1m", limit=50)
    assert len(newest) == 50 and 0 <= running.now_ms() - newest[-1][0] < 3 * MINUTE_MS
    since = okx.parse8601("2024-02-27T00:00:00Z")
    days = await okx.fetch_ohlcv("BTC/USDT", "1d", since=since, limit=5)
    assert [row[0] for row in days] == [since + n * DAY_MS for n in range(5)]
    hours = await okx.fetch_ohlcv("BTC/USDT", "1h", since=since, limit=24)
    assert hours[0][1] == days[0][1] and hours[-1][4] == days[0][4]
    assert max(row[2] for row in hours) == days[0][2]
    assert sum(row[5] for row in hours) == pytest.approx(days[0][5], rel=1e-12)


async def test_trades_book_ticker_and_time_are_fetched(okx, running):
    """Recent and historic trades, an order book, tickers, the clock and the status."""
    trades = await okx.fetch_trades("BTC/USDT", limit=500)
    ids = [int(trade["id"]) for trade in trades]
    assert ids == list(range(ids[0], ids[0] + 500))
    older = await okx.fetch_trades(
        "BTC/USDT", limit=100, params={"method": "publicGetMarketHistoryTrades", "after": str(ids[0])}
    )
    assert [int(trade["id"]) for trade in older] == list(range(ids[0] - 100, ids[0]))
    book = await okx.fetch_order_book("BTC/USDT", 20)
    assert len(book["bids"]) == 20 and book["bids"][0][0] < book["asks"][0][0]
    ticker = await okx.fetch_ticker("ETH/USDT")
    assert ticker["low"] <= ticker["last"] <= ticker["high"] and ticker["baseVolume"] > 0
    assert len(await okx.fetch_tickers()) == 8
    assert abs(await okx.fetch_time() - running.now_ms()) < 2 * MINUTE_MS
    assert (await okx.fetch_status())["status"] == "ok"


async def test_trades_are_watched_without_hole(okx):
    """The ids and counts that ccxt passes on in `info` are continuous."""
    rows: list[dict[str, str]] = []
    async with asyncio.timeout(20):
        while len(rows) < 100:
            rows += [trade["info"] for trade in await okx.watch_trades("BTC/USDT")]
    assert all(
        int(row["tradeId"]) - int(row["count"]) == int(previous["tradeId"])
        for previous, row in pairwise(rows)
    )


async def test_candles_are_watched_through_a_close(okx):
    """Watched candles move on to the next minute."""
    opens: set[int] = set()
    async with asyncio.timeout(20):
        while len(opens) < 3:
            opens |= {row[0] for row in await okx.watch_ohlcv("BTC/USDT", "1m")}
    assert all(later - earlier == MINUTE_MS for earlier, later in pairwise(sorted(opens)))


async def test_books_and_tickers_are_watched(okx):
    """The incremental book stays uncrossed over updates; tickers arrive."""
    async with asyncio.timeout(20):
        for _ in range(10):
            book = await okx.watch_order_book("BTC/USDT")
            assert book["bids"][0][0] < book["asks"][0][0]
        five = await okx.watch_order_book("ETH/USDT", 5)
        assert len(five["bids"]) == 5
        assert (await okx.watch_ticker("SOL/USDT"))["last"] > 0


async def test_errors_become_ccxts_own(okx):
    """An unknown pair is a BadSymbol, an exceeded rate limit a RateLimitExceeded."""
    await okx.load_markets()
    with pytest.raises(ccxt.BadSymbol, match="51001"):
        await okx.publicGetMarketTrades({"instId": "NO-SUCH"})
    okx.enableRateLimit = False
    with pytest.raises(ccxt.RateLimitExceeded):
        await asyncio.gather(*(okx.publicGetPublicTime() for _ in range(30)))


async def test_the_synchronous_ccxt_works_as_well(running):
    """`ccxt.okx` loads markets and fetches candles and trades."""
    exchange = ccxt.okx()
    exchange.urls["api"]["rest"] = running.rest_url
    candles = await asyncio.to_thread(exchange.fetch_ohlcv, "SOL/USDT", "5m", None, 100)
    trades = await asyncio.to_thread(exchange.fetch_trades, "SOL/USDT", None, 10)
    assert len(candles) == 100 and len(trades) == 10
    exchange.session.close()
