"""Backfills from the simulated exchange into a real PostgreSQL: complete, resumable, idempotent."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import text

from config.settings import Settings
from core.candles import Candle
from core.errors import BadInput, Unavailable
from core.timeframes import Timeframe
from core.trades import Trade
from pipelines.backfill.candles import backfill_candles
from pipelines.backfill.report import Progress
from pipelines.backfill.run import run_backfill
from pipelines.backfill.trades import backfill_trades
from pipelines.clock import SystemClock
from pipelines.exchanges.okx.requests import Requester
from pipelines.exchanges.okx.rest import OkxRest
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve
from pipelines.lake.archive import archive_raw_trades
from pipelines.lake.trades import read_all_trades
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.coverage import candle_totals, missing_candles, trade_totals
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import RESTART_MS, beat
from pipelines.warehouse.sql import EXCHANGE, to_datetime
from pipelines.warehouse.trades import copy_trades

pytestmark = pytest.mark.servers

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOW_MS = 1_789_000_000_000
END_MS = NOW_MS - NOW_MS % DAY
SYMBOL = "BTC-USDT"


class Counting(OkxRest):
    """The adapter, telling what was asked of it; breaks down after `calls_left` batches or pages."""

    def __init__(self, base_url: str, calls_left: int = 1_000_000) -> None:
        super().__init__(base_url, Requester(base_url, budgets={}))
        self.calls_left = calls_left
        self.asked: list[tuple[int, int]] = []
        self.pages = 0

    async def candles(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> list[Candle]:
        self._use()
        self.asked.append((start_ms, end_ms))
        return await super().candles(symbol, timeframe, start_ms, end_ms)

    async def trade_pages(
        self, symbol: str, start_ms: int, end_ms: int, before_id: int | None = None
    ) -> AsyncGenerator[list[Trade], None]:
        async for page in super().trade_pages(symbol, start_ms, end_ms, before_id):
            self._use()
            self.pages += 1
            yield page

    def _use(self) -> None:
        if not self.calls_left:
            raise Unavailable("the exchange is gone")
        self.calls_left -= 1


@pytest.fixture
async def sim() -> AsyncIterator[RunningSim]:
    running = await serve(SimOptions(seed=7, start_ms=NOW_MS, rate_limit=0))
    yield running
    await running.close()


@pytest.fixture
async def rest(sim: RunningSim) -> AsyncIterator[Counting]:
    adapter = Counting(sim.rest_url)
    yield adapter
    await adapter.close()


def stored(database_url: str, table: str, order: str) -> list[tuple[object, ...]]:
    """All rows of a table but for the time they were written."""
    drop = "created_at" if table == "market_data" else "received_at"
    query = f"SELECT to_jsonb(t) - '{drop}' FROM {table} AS t ORDER BY {order}"
    with engine(database_url).connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


async def test_stored_candles_are_the_exchanges_own(database_url: str, rest: Counting):
    """Two days of minutes: every candle of the exchange, digit for digit, labelled by its close."""
    report = await backfill_candles(rest, database_url, SYMBOL, Timeframe.M1, END_MS - 2 * DAY, END_MS)
    assert (report.rows, report.already, report.missing) == (2_880, 0, 0)
    expected = await rest.candles(SYMBOL, Timeframe.M1, END_MS - 2 * DAY, END_MS)
    query = "SELECT timestamp, open, high, low, close, volume, source, revision FROM market_data ORDER BY 1"
    with engine(database_url).connect() as connection:
        rows = connection.execute(text(query)).all()
    assert [(round(r.timestamp.timestamp() * 1000), *r[1:6]) for r in rows] == [
        (c.close_ms, c.open, c.high, c.low, c.close, c.volume) for c in expected
    ]
    assert {(r.source, r.revision) for r in rows} == {("exchange", 0)}


async def test_a_second_run_fetches_nothing(database_url: str, rest: Counting):
    """Repeating a backfill asks the exchange for no candle and changes no row."""
    await backfill_candles(rest, database_url, SYMBOL, Timeframe.M5, END_MS - DAY, END_MS)
    first, asked = stored(database_url, "market_data", "timestamp"), len(rest.asked)
    report = await backfill_candles(rest, database_url, SYMBOL, Timeframe.M5, END_MS - DAY, END_MS)
    assert (report.rows, report.already, report.missing) == (0, 288, 0)
    assert len(rest.asked) == asked
    assert stored(database_url, "market_data", "timestamp") == first


async def test_an_interrupted_backfill_goes_on_where_it_was(
    database_url: str, sim: RunningSim, rest: Counting
):
    """The exchange goes away in the middle: what was written stays, and the next run fetches only the rest;
    the rows are those of one run without interruption."""
    start = END_MS - DAY
    breaking = Counting(sim.rest_url, calls_left=3)
    with pytest.raises(Unavailable):
        await backfill_candles(breaking, database_url, SYMBOL, Timeframe.M1, start, END_MS, batch=200)
    await breaking.close()
    assert candle_totals(engine(database_url))[0].rows == 600
    report = await backfill_candles(rest, database_url, SYMBOL, Timeframe.M1, start, END_MS)
    assert (report.rows, report.already) == (840, 600)
    assert rest.asked[0][0] == start + 600 * MINUTE
    whole = await rest.candles(SYMBOL, Timeframe.M1, start, END_MS)
    with engine(database_url).connect() as connection:
        query = text("SELECT open, high, low, close, volume FROM market_data ORDER BY timestamp")
        rows = [tuple(row) for row in connection.execute(query)]
    assert rows == [(c.open, c.high, c.low, c.close, c.volume) for c in whole]


async def test_only_holes_are_fetched(database_url: str, rest: Counting):
    """With the middle hour stored and a provisional candle inside it, the two ends and that candle are asked
    for; the stored ones keep their source."""
    start, end = END_MS - 3 * HOUR, END_MS
    hour = await rest.candles(SYMBOL, Timeframe.M1, start + HOUR, start + 2 * HOUR)
    own = [
        Candle(SYMBOL, Timeframe.M1, c.close_ms, c.open, c.high, c.low, c.close, c.volume, 3, "trades")
        for c in hour
    ]
    doubtful = Candle(
        SYMBOL, Timeframe.M1, own[30].close_ms, *(own[30].open,) * 4, own[30].volume, provisional=True
    )
    with engine(database_url).begin() as connection:
        upsert_candles(connection, [*own[:30], doubtful, *own[31:]])
    rest.asked.clear()
    report = await backfill_candles(rest, database_url, SYMBOL, Timeframe.M1, start, end)
    middle = doubtful.close_ms
    assert rest.asked == [(start, start + HOUR), (middle - MINUTE, middle), (start + 2 * HOUR, end)]
    assert (report.rows, report.already) == (121, 59)
    totals = candle_totals(engine(database_url))[0]
    assert (totals.rows, totals.missing, totals.provisional) == (180, 0, 0)


async def test_a_candle_that_was_collected_meanwhile_is_left_alone(database_url: str, sim: RunningSim):
    """The live collector stores a candle of trades while the exchange's row, which differs, is fetched."""
    start = END_MS - HOUR

    class Slow(Counting):
        async def candles(
            self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int
        ) -> list[Candle]:
            rows = await super().candles(symbol, timeframe, start_ms, end_ms)
            number = rows[7].open
            own = Candle(symbol, timeframe, rows[7].close_ms, *(number,) * 4, rows[7].volume + 1, 3, "trades")
            with engine(database_url).begin() as connection:
                upsert_candles(connection, [own])
            return rows

    rest = Slow(sim.rest_url)
    report = await backfill_candles(rest, database_url, SYMBOL, Timeframe.M1, start, END_MS)
    await rest.close()
    assert report.rows == 59
    query = "SELECT timestamp, revision, trades_count FROM market_data WHERE source = 'trades'"
    with engine(database_url).connect() as connection:
        rows = connection.execute(text(query)).all()
    assert [(round(row.timestamp.timestamp() * 1000), *row[1:]) for row in rows] == [
        (start + 8 * MINUTE, 0, 3)
    ]


async def test_what_is_being_collected_is_left_to_the_collector(database_url: str, sim: RunningSim):
    """A bot must not find a candle whose trades are still on their way: a backfill ends with what the daemon
    has stored, or where it began, and waits for one that is about to. One that has been silent for long,
    does not get the symbol, or is at another exchange, collects nothing."""
    began, own_ms, wall_ms = END_MS - 2 * HOUR, END_MS - HOUR, SystemClock().now_ms()
    settings = Settings(database_url=database_url, okx_rest_url=sim.rest_url)

    def fetch(start_ms: int = began - HOUR) -> int:
        return run_backfill(settings, "candles", SYMBOL, "1m", start_ms, END_MS).end_ms

    def say(symbols: dict[str, object], exchange: str = EXCHANGE, at_ms: int = wall_ms) -> None:
        beat(engine(database_url), "live", at_ms, NOW_MS, {"exchange": exchange, "symbols": symbols})

    collecting = {SYMBOL: {"state": "live", "start_ms": began}}
    say(collecting)
    assert await asyncio.to_thread(fetch) == began
    own = Candle(SYMBOL, Timeframe.M1, own_ms, *(Decimal(60_000),) * 4, Decimal(1), 3, "trades")
    with engine(database_url).begin() as connection:
        upsert_candles(connection, [own])
    assert await asyncio.to_thread(fetch) == own_ms
    with pytest.raises(BadInput, match="stores later ones"):
        await asyncio.to_thread(fetch, own_ms)
    say({SYMBOL: {"state": "live", "start_ms": own_ms + 10 * MINUTE}})
    assert await asyncio.to_thread(fetch) == own_ms + 10 * MINUTE, "what was away is not fetched"
    say({SYMBOL: {"state": "starting"}})
    with pytest.raises(Unavailable, match="about to collect"):
        await asyncio.to_thread(fetch)
    for nobody in (
        {"symbols": {}},
        {"symbols": {SYMBOL: {"state": "unlisted"}}},
        {"symbols": collecting, "exchange": "kraken"},
        {"symbols": collecting, "at_ms": wall_ms - RESTART_MS - 1},
    ):
        say(**nobody)
        assert await asyncio.to_thread(fetch) == END_MS, nobody


async def test_progress_reaches_its_end(database_url: str, rest: Counting):
    """The callback's last call says that everything is done."""
    seen: list[Progress] = []
    await backfill_candles(rest, database_url, SYMBOL, Timeframe.H1, END_MS - DAY, END_MS, seen.append)
    assert (seen[-1].done_ms, seen[-1].total_ms, seen[-1].rows) == (DAY, DAY, 24)


async def test_the_running_candle_is_left_out(database_url: str, rest: Counting):
    """A backfill to the present ends with the last complete candle."""
    report = await backfill_candles(rest, database_url, SYMBOL, Timeframe.H1, NOW_MS - DAY, NOW_MS + DAY)
    assert report.end_ms == Timeframe.H1.open_ms(await rest.server_time_ms())
    assert report.missing == 0
    assert candle_totals(engine(database_url))[0].last_ms == report.end_ms


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [(END_MS, END_MS, "from"), (END_MS, END_MS - DAY, "from"), (NOW_MS + DAY, NOW_MS + 2 * DAY, "from")],
)
async def test_a_wrong_range_is_named(database_url: str, rest: Counting, start: int, end: int, field: str):
    """From after to, or in the future: the field is named, and nothing is fetched."""
    with pytest.raises(BadInput) as raised:
        await backfill_candles(rest, database_url, SYMBOL, Timeframe.M1, start, end)
    assert raised.value.field == field
    with pytest.raises(BadInput):
        await backfill_trades(rest, database_url, SYMBOL, start, end)
    assert not rest.asked


async def test_an_unknown_symbol_is_named_and_nothing_is_written(database_url: str, rest: Counting):
    """The exchange does not list it: BadInput with the symbol."""
    with pytest.raises(BadInput, match="NOPE-USDT"):
        await backfill_candles(rest, database_url, "NOPE-USDT", Timeframe.M1, END_MS - DAY, END_MS)
    with pytest.raises(BadInput, match="NOPE-USDT"):
        await backfill_trades(rest, database_url, "NOPE-USDT", END_MS - DAY, END_MS)
    assert candle_totals(engine(database_url)) == []


async def test_missing_candles_are_the_holes(database_url: str, rest: Counting):
    """With nothing stored the whole range is one hole; with all of it stored there is none."""
    server = engine(database_url)
    assert missing_candles(server, SYMBOL, Timeframe.M1, END_MS - HOUR, END_MS) == [(END_MS - HOUR, END_MS)]
    await backfill_candles(rest, database_url, SYMBOL, Timeframe.M1, END_MS - HOUR, END_MS)
    assert missing_candles(server, SYMBOL, Timeframe.M1, END_MS - HOUR, END_MS) == []
    assert missing_candles(server, SYMBOL, Timeframe.M1, END_MS - HOUR, END_MS + 2 * MINUTE) == [
        (END_MS, END_MS + 2 * MINUTE)
    ]


async def test_stored_trades_are_every_match_of_the_range(database_url: str, rest: Counting):
    """Ids without a hole, from the first match of the range to the last, and a second run writes nothing."""
    start = END_MS - 2 * HOUR
    report = await backfill_trades(rest, database_url, SYMBOL, start, END_MS)
    totals = trade_totals(engine(database_url))[0]
    assert (totals.rows, totals.missing_ids, report.missing) == (report.rows, 0, 0)
    before = await rest.trades_by_id(SYMBOL, totals.first_id - 1, totals.first_id - 1)
    after = await rest.trades_by_id(SYMBOL, totals.last_id + 1, totals.last_id + 1)
    assert before[0].timestamp_ms < start <= totals.first_ms
    assert totals.last_ms < END_MS <= after[0].timestamp_ms
    rows, pages = stored(database_url, "raw_trades", "trade_id"), rest.pages
    assert (await backfill_trades(rest, database_url, SYMBOL, start, END_MS)).rows == 0
    assert rest.pages - pages <= 2
    assert stored(database_url, "raw_trades", "trade_id") == rows


async def test_an_interrupted_backfill_of_trades_goes_on(database_url: str, sim: RunningSim, rest: Counting):
    """Cut off in the middle and run again: the rows of a single run, and the stored part is skipped."""
    start = END_MS - 6 * HOUR
    breaking = Counting(sim.rest_url, calls_left=10)
    with pytest.raises(Unavailable):
        await backfill_trades(breaking, database_url, SYMBOL, start, END_MS, batch=300)
    await breaking.close()
    kept = trade_totals(engine(database_url))[0].rows
    assert kept == 900
    report = await backfill_trades(rest, database_url, SYMBOL, start, END_MS)
    totals = trade_totals(engine(database_url))[0]
    assert (totals.rows, totals.missing_ids) == (kept + report.rows, 0)
    assert rest.pages < totals.rows / 100 - 5


class Forgetful(OkxRest):
    """The exchange keeps nothing from before `kept_ms`."""

    kept_ms = END_MS - HOUR

    async def _trade_page(self, symbol: str, kind: int, after: int) -> list[Trade]:
        page = await super()._trade_page(symbol, kind, after)
        return [trade for trade in page if trade.timestamp_ms >= self.kept_ms]


async def test_trades_that_the_exchange_has_forgotten_are_told(database_url: str, sim: RunningSim):
    """It keeps three months of them: where more is asked for the report says from when on there are any, the
    first time and when it is repeated; a range that it has forgotten wholly is refused, and of one that it
    has nothing is said."""
    rest = Forgetful(sim.rest_url, Requester(sim.rest_url, budgets={}))
    report = await backfill_trades(rest, database_url, SYMBOL, END_MS - 2 * HOUR, END_MS)
    totals = trade_totals(engine(database_url))[0]
    assert report.rows == totals.rows > 100
    assert report.begin_ms == totals.first_ms >= END_MS - HOUR
    again = await backfill_trades(rest, database_url, SYMBOL, END_MS - 2 * HOUR, END_MS)
    assert (again.rows, again.begin_ms) == (0, report.begin_ms)
    inside = await backfill_trades(rest, database_url, SYMBOL, END_MS - HOUR // 2, END_MS)
    assert inside.begin_ms is None
    with pytest.raises(BadInput, match="from: the exchange keeps no trades of BTC-USDT from before it"):
        await backfill_trades(rest, database_url, SYMBOL, END_MS - 3 * HOUR, END_MS - 2 * HOUR)
    await rest.close()


async def test_archived_trades_are_not_fetched_again(database_url: str, rest: Counting, tmp_path: Path):
    """A day that was archived and dropped is skipped whole, between trades that are stored, and backtests see
    every match once; a day whose file is damaged is fetched again."""
    start, end, lake = END_MS - 2 * HOUR, END_MS + 10 * MINUTE, str(tmp_path)

    async def fetch() -> int:
        return (await backfill_trades(rest, database_url, SYMBOL, start, end, lake_url=lake)).rows

    rows = await fetch()
    day = to_datetime(start).date()
    file = archive_raw_trades(database_url, lake, SYMBOL, day, drop=True)
    pages = rest.pages
    assert await fetch() == 0 and rest.pages - pages <= 2
    assert trade_totals(engine(database_url))[0].rows == rows - file.dropped
    assert read_all_trades(engine(database_url), lake, SYMBOL, start, end).height == rows
    with engine(database_url).begin() as connection:
        connection.execute(text("DELETE FROM raw_trades"))
    assert await fetch() == rows - file.dropped
    (tmp_path / str(file.path)).write_bytes(b"damaged")
    assert await fetch() == file.dropped


async def test_matches_inside_stored_aggregates_are_not_stored_twice(database_url: str, rest: Counting):
    """The feed stored an aggregate of three matches: REST's single matches of the same ids add nothing, and
    the volume of the range is that of the exchange."""
    start = END_MS - HOUR
    pages = [page async for page in rest.trade_pages(SYMBOL, start, END_MS)]
    matches = [match for page in reversed(pages) for match in page]
    first, last = next(
        (a, b) for a, b in pairwise(matches[20:]) if (a.timestamp_ms, a.price) == (b.timestamp_ms, b.price)
    )
    size = first.size + last.size
    aggregate = Trade(SYMBOL, last.trade_id, last.timestamp_ms, last.price, size, last.side, count=2)
    with engine(database_url).begin() as connection:
        copy_trades(connection, [aggregate])
    await backfill_trades(rest, database_url, SYMBOL, start, END_MS)
    with engine(database_url).connect() as connection:
        query = "SELECT sum(size), sum(count), count(*) FROM raw_trades"
        volume, count, rows = connection.execute(text(query)).one()
    assert (count, rows) == (len(matches), len(matches) - 1)
    assert volume == sum(match.size for match in matches)
