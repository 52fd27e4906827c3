"""The REST adapter against a server that speaks OKX's protocol and keeps its limits."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import web

from core.errors import BadInput, Unavailable
from core.timeframes import Timeframe
from core.trades import Trade
from pipelines.exchanges.okx.requests import Requester
from pipelines.exchanges.okx.rest import OkxRest
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve

START_MS = 1_789_000_000_000 - 1_789_000_000_000 % 86_400_000 + 45_296_789
MINUTE, DAY = 60_000, 86_400_000


@pytest.fixture
async def sim() -> AsyncIterator[RunningSim]:
    """A simulated exchange with time enough for every test's requests."""
    running = await serve(SimOptions(seed=11, start_ms=START_MS, rate_limit=0))
    yield running
    await running.close()


@pytest.fixture
async def rest(sim: RunningSim) -> AsyncIterator[OkxRest]:
    """The adapter, without waiting for budgets."""
    adapter = OkxRest(sim.rest_url, Requester(sim.rest_url, budgets={}))
    yield adapter
    await adapter.close()


async def collected(rest: OkxRest, symbol: str, start_ms: int, end_ms: int) -> list[Trade]:
    pages = [page async for page in rest.trade_pages(symbol, start_ms, end_ms)]
    return [trade for page in reversed(pages) for trade in page]


@pytest.mark.parametrize("timeframe", list(Timeframe))
async def test_candles_are_labelled_by_their_close_and_complete(rest: OkxRest, timeframe: Timeframe):
    """Every confirmed candle of (start, end] once, oldest first, a timeframe apart; nothing running."""
    length, now = timeframe.ms, await rest.server_time_ms()
    wanted = 700 if timeframe is Timeframe.M1 else 40  # 700: more than two pages
    start = timeframe.open_ms(now) - wanted * length
    candles = await rest.candles("BTC-USDT", timeframe, start, now)
    expected = range(start + length, timeframe.open_ms(now) + 1, length)
    assert [candle.close_ms for candle in candles] == list(expected)
    assert {(candle.symbol, candle.timeframe, candle.source) for candle in candles} == {
        ("BTC-USDT", timeframe, "exchange")
    }


async def test_a_candle_is_what_its_trades_make_of_it(rest: OkxRest):
    """Open, high, low, close and volume equal an aggregation of the trades of the same minute."""
    end = START_MS - START_MS % MINUTE
    candles = await rest.candles("ETH-USDT", Timeframe.M1, end - 30 * MINUTE, end)
    trades = await collected(rest, "ETH-USDT", end - 30 * MINUTE, end)
    checked = 0
    for candle in candles:
        inside = [trade for trade in trades if candle.open_ms <= trade.timestamp_ms < candle.close_ms]
        if inside:
            prices = [trade.price for trade in inside]
            assert (candle.open, candle.high, candle.low, candle.close) == (
                prices[0],
                max(prices),
                min(prices),
                prices[-1],
            )
            assert candle.volume == sum(trade.size for trade in inside)
            checked += 1
    assert len(candles) == 30
    assert checked > 10


async def test_a_daily_candle_is_a_utc_day(rest: OkxRest):
    """1d equals the aggregation of the 1h candles from midnight to midnight UTC."""
    end = START_MS - START_MS % DAY
    day = (await rest.candles("BTC-USDT", Timeframe.D1, end - DAY, end))[0]
    hours = await rest.candles("BTC-USDT", Timeframe.H1, end - DAY, end)
    assert len(hours) == 24
    assert (day.close_ms, day.open, day.close) == (end, hours[0].open, hours[-1].close)
    assert day.high == max(hour.high for hour in hours)
    assert day.volume == sum(hour.volume for hour in hours)


async def test_trades_by_id_are_complete(rest: OkxRest):
    """1,234 ids over a dozen pages: each once, in order, and the newest included."""
    newest = (await rest.recent_trades("BTC-USDT"))[-1].trade_id
    trades = await rest.trades_by_id("BTC-USDT", newest - 1_233, newest)
    assert [trade.trade_id for trade in trades] == list(range(newest - 1_233, newest + 1))
    assert all(a.timestamp_ms <= b.timestamp_ms for a, b in pairwise(trades))


async def test_ids_of_the_future_are_left_out(rest: OkxRest):
    """Ids that the exchange has not given yet are not invented and not waited for."""
    newest = (await rest.recent_trades("BTC-USDT"))[-1].trade_id
    trades = await rest.trades_by_id("BTC-USDT", newest - 4, newest + 1_000_000)
    assert [trade.trade_id for trade in trades][:5] == list(range(newest - 4, newest + 1))


async def test_recent_trades_are_oldest_first(rest: OkxRest):
    """At most 500, in order of their ids, single matches."""
    trades = await rest.recent_trades("SOL-USDT")
    assert len(trades) == 500
    assert all(b.trade_id == a.trade_id + 1 for a, b in pairwise(trades))
    assert len(await rest.recent_trades("SOL-USDT", 7)) == 7


async def test_pages_by_time_hold_exactly_the_range(rest: OkxRest):
    """The ids of the pages are without a hole, and the neighbours of both ends lie outside the range."""
    start, end = START_MS - 3_600_000, START_MS - 1_800_000
    trades = await collected(rest, "BTC-USDT", start, end)
    assert len(trades) > 200
    assert all(b.trade_id == a.trade_id + 1 for a, b in pairwise(trades))
    before, after = (
        await rest.trades_by_id("BTC-USDT", trades[0].trade_id - 1, trades[0].trade_id - 1),
        (await rest.trades_by_id("BTC-USDT", trades[-1].trade_id + 1, trades[-1].trade_id + 1)),
    )
    assert before[0].timestamp_ms < start <= trades[0].timestamp_ms
    assert trades[-1].timestamp_ms < end <= after[0].timestamp_ms


async def test_instruments_have_their_steps(rest: OkxRest):
    """BTC-USDT is listed with positive tick, lot and minimum."""
    listed = {instrument.symbol: instrument for instrument in await rest.instruments()}
    btc = listed["BTC-USDT"]
    assert (btc.base, btc.quote, btc.state) == ("BTC", "USDT", "live")
    assert min(btc.tick_size, btc.lot_size, btc.min_size) > 0


async def test_an_unknown_symbol_is_the_callers_mistake(rest: OkxRest):
    """The error names the symbol."""
    with pytest.raises(BadInput, match="NOPE-USDT"):
        await rest.candles("NOPE-USDT", Timeframe.M1, START_MS - DAY, START_MS)


async def test_the_limits_of_the_exchange_are_never_met():
    """45 pages in a row with OKX's limits switched on: not one is refused."""
    sim = await serve(SimOptions(seed=11, start_ms=START_MS, rate_limit=1))
    began = time.monotonic()
    waits: list[float] = []
    rest = OkxRest(sim.rest_url, Requester(sim.rest_url, sleep=_recorded(waits), attempts=1))
    try:
        candles = await rest.candles("BTC-USDT", Timeframe.M1, START_MS - 45 * 300 * MINUTE, START_MS)
        took_s = time.monotonic() - began
    finally:
        await rest.close()
        await sim.close()
    assert len(candles) == 45 * 300
    assert took_s > 4 and sum(waits) < 6


def _recorded(waits: list[float]) -> Callable[[float], Awaitable[None]]:
    import asyncio

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(seconds)

    return sleep


@asynccontextmanager
async def answering(*answers: tuple[int, Any]) -> AsyncIterator[tuple[str, list[Mapping[str, str]]]]:
    """A server that gives these (status, JSON or text) answers, one after the other, the last for ever."""
    asked: list[Mapping[str, str]] = []

    async def respond(request: web.Request) -> web.Response:
        status, body = answers[min(len(asked), len(answers) - 1)]
        asked.append(dict(request.query))
        if isinstance(body, str):
            return web.Response(status=status, text=body)
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_get("/{path:.*}", respond)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


TIME = (200, {"code": "0", "msg": "", "data": [{"ts": "1789000000000"}]})


@pytest.mark.parametrize(
    "fault",
    [
        (429, {"code": "50011", "msg": "Too Many Requests", "data": []}),
        (200, {"code": "50011", "msg": "Too Many Requests", "data": []}),
        (200, {"code": "50013", "msg": "System is busy", "data": []}),
        (503, "<html>unavailable</html>"),
        (200, "<html>a proxy's page</html>"),
    ],
)
async def test_a_passing_fault_is_retried(fault: tuple[int, Any]):
    """Twice refused, then answered: the caller sees the answer, and the delays grow."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with answering(fault, fault, TIME) as (url, asked):
        rest = OkxRest(url, Requester(url, budgets={}, sleep=sleep))
        assert await rest.server_time_ms() == 1_789_000_000_000
        await rest.close()
    assert len(asked) == 3
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1.0


async def test_a_lasting_fault_ends_in_unavailable():
    """After six attempts the error names the host, the endpoint and the fault."""

    async def sleep(seconds: float) -> None:
        return None

    async with answering((503, "down")) as (url, asked):
        rest = OkxRest(url, Requester(url, budgets={}, sleep=sleep))
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1.*public/time.*HTTP 503"):
            await rest.server_time_ms()
        await rest.close()
    assert len(asked) == 6


async def test_nobody_there_is_unavailable(unused_port: int):
    """A refused connection is retried too, then named."""

    async def sleep(seconds: float) -> None:
        return None

    url = f"http://127.0.0.1:{unused_port}"
    rest = OkxRest(url, Requester(url, budgets={}, sleep=sleep))
    with pytest.raises(Unavailable, match=str(unused_port)):
        await rest.server_time_ms()
    await rest.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((404, {"code": 404, "msg": "Not Found", "data": []}), Unavailable),
        ((200, {"code": "51000", "msg": "Parameter bar error", "data": []}), BadInput),
        ((200, {"code": "0", "msg": "", "data": [{"time": 1}]}), Unavailable),
        ((403, "forbidden"), Unavailable),
    ],
)
async def test_a_lasting_refusal_is_not_repeated(answer: tuple[int, Any], error: type[Exception]):
    """A wrong request or an answer of another shape is asked for once."""
    async with answering(answer) as (url, asked):
        rest = OkxRest(url, Requester(url, budgets={}))
        with pytest.raises(error):
            await rest.server_time_ms()
        await rest.close()
    assert len(asked) == 1


def _candle(open_ms: int, confirm: str) -> list[str]:
    return [str(open_ms), "1", "2", "0.5", "1.5", "7", "10", "10", confirm]


async def test_two_running_rows_on_a_page_are_left_out():
    """A page may end with two unconfirmed candles: neither is handed on."""
    opens = [START_MS - START_MS % MINUTE - n * MINUTE for n in range(4)]
    rows = [_candle(open_ms, "1" if n > 1 else "0") for n, open_ms in enumerate(opens)]
    empty = (200, {"code": "0", "msg": "", "data": []})
    async with answering((200, {"code": "0", "msg": "", "data": rows}), empty) as (url, _):
        rest = OkxRest(url, Requester(url, budgets={}))
        found = await rest.candles("A-B", Timeframe.M1, opens[3], opens[0] + MINUTE)
        await rest.close()
    assert [candle.close_ms for candle in found] == [opens[3] + MINUTE, opens[2] + MINUTE]


async def test_a_server_that_does_not_page_does_not_hold_us():
    """The same page again and again ends the fetching."""
    rows = [_candle(START_MS - START_MS % MINUTE, "1")]
    async with answering((200, {"code": "0", "msg": "", "data": rows})) as (url, asked):
        rest = OkxRest(url, Requester(url, budgets={}))
        await rest.candles("A-B", Timeframe.M1, START_MS - DAY, START_MS)
        await rest.close()
    assert len(asked) <= 3


class History:
    """Serves history-trades of ids 1 … 1200, ten a millisecond but 250 in one; paging by id skips some."""

    def __init__(self, skipped: set[int]) -> None:
        self.times = {n: START_MS + (30 if 300 < n <= 550 else n // 10) for n in range(1, 1_201)}
        self.skipped, self.asked = skipped, []

    async def answer(self, request: web.Request) -> web.Response:
        query = request.query
        self.asked.append((query.get("type"), query.get("before")))
        known = sorted(self.times, reverse=True)
        if request.path.endswith("/history-trades"):
            after = int(query["after"])
            if query["type"] == "1":
                known = [n for n in known if n < after and n not in self.skipped]
            else:
                known = [n for n in known if self.times[n] < after]
        rows = [
            {
                "instId": "A-B",
                "tradeId": str(n),
                "px": "1",
                "sz": "1",
                "side": "buy",
                "ts": str(self.times[n]),
            }
            for n in known[: int(query["limit"])]
        ]
        return web.json_response({"code": "0", "msg": "", "data": rows})


@asynccontextmanager
async def serving(history: History) -> AsyncIterator[OkxRest]:
    """The adapter in front of it."""
    app = web.Application()
    app.router.add_get("/api/v5/market/{name}", history.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    rest = OkxRest(url, Requester(url, budgets={}))
    yield rest
    await rest.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    "skipped",
    [{50}, {20, 21, 25, 99}, {1, 100}, set(range(60, 90)), {295, 560}],
    ids=["one", "some", "both ends", "a run", "beside many of one millisecond"],
)
async def test_ids_that_paging_by_id_leaves_out_are_found_by_time(skipped: set[int]):
    """Rows that type=1 skips come by type=2, which is never asked with `before` (code 50039)."""
    history = History(skipped)
    first, last = min(skipped), max(skipped)
    async with serving(history) as rest:
        trades = await rest.trades_by_id("A-B", first, last)
    assert [trade.trade_id for trade in trades] == list(range(first, last + 1))
    assert {kind for kind, _ in history.asked} >= {"1", "2"}
    assert {before for _, before in history.asked} == {None}


async def test_rows_of_one_millisecond_that_go_on_behind_a_page_are_not_lost():
    """Two pages by id are skipped: paging by time repeats the millisecond it stopped in."""
    history = History(set(range(101, 300)))
    history.times = {n: START_MS + n // 30 for n in range(1, 1_201)}  # pages of 100 end within a millisecond
    async with serving(history) as rest:
        trades = await rest.trades_by_id("A-B", 101, 340)
    assert [trade.trade_id for trade in trades] == list(range(101, 341))


async def test_a_complete_answer_by_id_is_not_asked_for_by_time():
    """The other type costs a request only when something is missing."""
    history = History(set())
    async with serving(history) as rest:
        assert len(await rest.trades_by_id("A-B", 10, 60)) == 51
    assert {kind for kind, _ in history.asked} == {"1"}
