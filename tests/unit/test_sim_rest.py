"""The simulated exchange's REST side: OKX's paging rules, error codes and rate limits."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import polars as pl
import pytest

from core.errors import BadInput
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve

START_MS = 1_790_000_000_000  # 2026-09-21T14:13:20Z
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


class Client:
    """Asks a running exchange."""

    def __init__(self, session: aiohttp.ClientSession, running: RunningSim) -> None:
        self.session = session
        self.running = running

    async def raw(self, path: str, **query: object) -> tuple[int, dict[str, Any]]:
        url = f"{self.running.rest_url}/api/v5{path}"
        async with self.session.get(url, params={k: str(v) for k, v in query.items()}) as answer:
            return answer.status, await answer.json()

    async def rows(self, path: str, **query: object) -> list[Any]:
        status, body = await self.raw(path, **query)
        assert (status, body["code"], body["msg"]) == (200, "0", "")
        return body["data"]


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A client of an exchange whose clock stands at START_MS, without rate limits."""
    running = await serve(SimOptions(start_ms=START_MS, speed=0.000_001, rate_limit=0))
    async with aiohttp.ClientSession() as session:
        yield Client(session, running)
    await running.close()


async def test_time_is_the_virtual_clock(client):
    """`/public/time` says what the clock says, in ms, as text."""
    assert await client.rows("/public/time") == [{"ts": str(START_MS)}]


async def test_instruments_carry_steps_and_state(client):
    """BTC-USDT is live with OKX's tick, lot and smallest size; other instrument types are empty."""
    rows = {row["instId"]: row for row in await client.rows("/public/instruments", instType="SPOT")}
    bitcoin = rows["BTC-USDT"]
    assert (bitcoin["tickSz"], bitcoin["lotSz"], bitcoin["minSz"]) == ("0.1", "0.00000001", "0.00001")
    assert bitcoin["state"] == "live" and {"ETH-USDT", "SOL-USDT"} <= rows.keys()
    assert await client.rows("/public/instruments", instType="SWAP") == []


async def test_history_trades_page_by_id_without_hole_or_repeat(client):
    """Pages of `after` over a midnight give every id once, newest first, and agree with `trades`."""
    newest = await client.rows("/market/trades", instId="ETC-USDT", limit=500)
    last = int(newest[0]["tradeId"])
    assert [int(row["tradeId"]) for row in newest] == list(range(last, last - 500, -1))
    paged: list[dict[str, str]] = []
    after = last + 1
    for _ in range(15):
        page = await client.rows("/market/history-trades", instId="ETC-USDT", after=after)
        paged += page
        after = int(page[-1]["tradeId"])
    assert [int(row["tradeId"]) for row in paged] == list(range(last, last - 1_500, -1))
    assert paged[:500] == newest
    assert int(paged[0]["ts"]) - int(paged[-1]["ts"]) > DAY_MS
    assert all(int(row["ts"]) <= START_MS for row in paged)


async def test_history_trades_before_alone_is_the_newest_page(client):
    """`before` excludes its id; alone, it gives the newest page, not the one next to the id."""
    (newest,) = await client.rows("/market/history-trades", instId="BTC-USDT", limit=1)
    last = int(newest["tradeId"])
    near = await client.rows("/market/history-trades", instId="BTC-USDT", before=last - 10)
    assert [int(row["tradeId"]) for row in near] == list(range(last, last - 10, -1))
    far = await client.rows("/market/history-trades", instId="BTC-USDT", before=last - 10_000)
    assert int(far[0]["tradeId"]) == last and len(far) == 100
    both = await client.rows("/market/history-trades", instId="BTC-USDT", before=last - 500, after=last - 480)
    assert [int(row["tradeId"]) for row in both] == list(range(last - 481, last - 500, -1))


async def test_history_trades_page_by_time(client):
    """Type 2 takes `after` as a time and refuses `before` with 50039; three months back it ends."""
    before_ms = START_MS - 5 * HOUR_MS
    page = await client.rows("/market/history-trades", instId="BTC-USDT", type=2, after=before_ms)
    assert len(page) == 100 and all(int(row["ts"]) < before_ms for row in page)
    _, refused = await client.raw("/market/history-trades", instId="BTC-USDT", type=2, before=1)
    assert refused["code"] == "50039"
    old = START_MS - 91 * DAY_MS
    assert await client.rows("/market/history-trades", instId="BTC-USDT", type=2, after=old) == []


async def test_candles_follow_after_and_before(client):
    """`after` gives older rows, `before` newer ones, both excluded; rows come newest first."""
    open_ms = START_MS - START_MS % MINUTE_MS - 600 * MINUTE_MS
    rows = await client.rows(
        "/market/history-candles", instId="SOL-USDT", after=open_ms, before=open_ms - 11 * MINUTE_MS
    )
    assert [int(row[0]) for row in rows] == [open_ms - n * MINUTE_MS for n in range(1, 11)]
    assert all(len(row) == 9 and row[8] == "1" for row in rows)
    older = await client.rows("/market/history-candles", instId="SOL-USDT", after=open_ms, limit=300)
    assert int(older[-1][0]) == open_ms - 300 * MINUTE_MS
    alone = await client.rows("/market/history-candles", instId="SOL-USDT", before=open_ms)
    assert int(alone[0][0]) == START_MS - START_MS % MINUTE_MS and len(alone) == 100


async def test_only_the_newest_candle_runs(client):
    """`confirm` is 0 for the running candle only, and `candles` ends 1,440 rows back."""
    rows = await client.rows("/market/candles", instId="BTC-USDT", bar="1H", limit=300)
    assert [row[8] for row in rows] == ["0"] + ["1"] * 299
    assert int(rows[0][0]) == START_MS - START_MS % HOUR_MS
    oldest = START_MS - START_MS % MINUTE_MS - 1_439 * MINUTE_MS
    rows = await client.rows("/market/candles", instId="BTC-USDT", after=oldest + 5 * MINUTE_MS)
    assert [int(row[0]) for row in rows] == [oldest + n * MINUTE_MS for n in (4, 3, 2, 1, 0)]
    rows = await client.rows("/market/history-candles", instId="BTC-USDT", after=oldest, limit=2)
    assert len(rows) == 2


async def test_served_candles_equal_an_aggregation_of_served_trades(client):
    """Volume, value, open, high, low and close of a page of candles equal those of the paged trades."""
    first = START_MS - START_MS % MINUTE_MS - 30 * MINUTE_MS
    trades: list[dict[str, str]] = []
    after: int | None = None
    while not trades or int(trades[-1]["ts"]) >= first:
        query = {} if after is None else {"after": after}
        trades += await client.rows("/market/history-trades", instId="BTC-USDT", **query)
        after = int(trades[-1]["tradeId"])
    exact = pl.Decimal(38, 12)
    frame = (
        pl.DataFrame(trades)
        .select(
            pl.col("tradeId").cast(pl.Int64),
            (pl.col("ts").cast(pl.Int64) // MINUTE_MS * MINUTE_MS).alias("open_ms"),
            pl.col("px").cast(exact),
            pl.col("sz").cast(exact),
        )
        .filter(pl.col("open_ms") >= first)
        .sort("tradeId")
        .group_by("open_ms")
        .agg(
            pl.col("px").first().alias("open"),
            pl.col("px").max().alias("high"),
            pl.col("px").min().alias("low"),
            pl.col("px").last().alias("close"),
            pl.col("sz").sum().alias("volume"),
        )
    )
    expected = {row[0]: row[1:] for row in frame.rows()}
    rows = await client.rows("/market/candles", instId="BTC-USDT", before=first - 1)
    traded = {int(row[0]): tuple(map(Decimal, row[1:6])) for row in rows if Decimal(row[5])}
    assert traded == expected and len(traded) > 20


async def test_books_and_tickers_agree_with_the_last_trade(client):
    """The book is not crossed, its best prices stand around the last trade, and the ticker shows both."""
    (last,) = await client.rows("/market/trades", instId="ETH-USDT", limit=1)
    (book,) = await client.rows("/market/books", instId="ETH-USDT", sz=50)
    (ticker,) = await client.rows("/market/ticker", instId="ETH-USDT")
    bids, asks = ([Decimal(level[0]) for level in book[side]] for side in ("bids", "asks"))
    assert bids == sorted(bids, reverse=True) and asks == sorted(asks) and len(bids) == 50
    assert bids[0] < asks[0] and bids[0] <= Decimal(last["px"]) <= asks[0]
    assert (ticker["last"], ticker["bidPx"], ticker["askPx"]) == (
        last["px"],
        book["bids"][0][0],
        book["asks"][0][0],
    )
    assert Decimal(ticker["low24h"]) <= Decimal(ticker["last"]) <= Decimal(ticker["high24h"])
    assert len(await client.rows("/market/tickers", instType="SPOT")) == 8


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/market/trades", {"instId": "NO-SUCH"}, "51001"),
        ("/market/trades", {}, "50014"),
        ("/market/candles", {"instId": "BTC-USDT", "bar": "7m"}, "51000"),
        ("/market/candles", {"instId": "BTC-USDT", "after": "x"}, "51000"),
        ("/market/trades", {"instId": "BTC-USDT", "limit": "-1"}, "51000"),
        ("/public/instruments", {"instType": "STOCK"}, "51000"),
    ],
)
async def test_bad_requests_get_okx_codes(client, path, query, code):
    """Errors come in the envelope with OKX's code, a message and no rows."""
    _, body = await client.raw(path, **query)
    assert body["code"] == code and body["msg"] and body["data"] == []


async def test_an_unknown_path_is_404_with_a_numeric_code(client):
    """As OKX answers, whose code is a number here only."""
    status, body = await client.raw("/market/nothing")
    assert (status, body["code"]) == (404, 404)


async def test_the_rate_limit_answers_429_and_is_per_endpoint():
    """The 11th call for the time in 2 s is refused with 50011; another endpoint still answers."""
    running = await serve(SimOptions(start_ms=START_MS))
    async with aiohttp.ClientSession() as session:
        client = Client(session, running)
        answers = await asyncio.gather(*(client.raw("/public/time") for _ in range(11)))
        codes = sorted((status, body["code"]) for status, body in answers)
        assert codes == [(200, "0")] * 10 + [(429, "50011")]
        assert await client.rows("/market/trades", instId="BTC-USDT", limit=1)
    await running.close()


async def test_a_taken_port_is_told_in_one_line():
    """A second server on the same port ends with the port's number, not with a traceback."""
    running = await serve(SimOptions(start_ms=START_MS))
    port = int(running.rest_url.rpartition(":")[2])
    with pytest.raises(BadInput, match=f"port: {port}"):
        await serve(SimOptions(port=port))
    await running.close()
