"""Backfills killed ten times wherever they were: the rows are those of a run without a kill."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text

from core.timeframes import Timeframe
from pipelines.exchanges.okx.requests import Requester
from pipelines.exchanges.okx.rest import OkxRest
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve
from pipelines.lake.store import sha256_of
from pipelines.lake.verify import verify_lake
from pipelines.warehouse.database import engine
from pipelines.warehouse.lake_files import find_files
from tests.backfill_children import bulk_trades, candles, run_and_kill, trades

pytestmark = pytest.mark.servers

DAY = 86_400_000
NOW_MS = 1_789_000_000_000
END_MS = NOW_MS - NOW_MS % DAY
SYMBOL = "ETC-USDT"
KILLS = 10


@pytest.fixture
async def sim() -> AsyncIterator[RunningSim]:
    running = await serve(SimOptions(seed=7, start_ms=NOW_MS, rate_limit=0, speed=0.000_001, activity=0.2))
    yield running
    await running.close()


async def test_candles_killed_ten_times(database_url: str, sim: RunningSim):
    """Four days of minutes: after ten kills and a last run every candle is the exchange's, once, unrevised,
    and what was stored before a kill was not fetched again."""
    dice = random.Random(5)
    start = END_MS - 4 * DAY
    arguments = (sim.rest_url, database_url, (SYMBOL,), start, END_MS, 100)
    for _ in range(KILLS):
        assert not await asyncio.to_thread(run_and_kill, candles, arguments, dice.randint(1, 4))
    assert await asyncio.to_thread(run_and_kill, candles, arguments, None)
    rest = OkxRest(sim.rest_url, Requester(sim.rest_url, budgets={}))
    whole = await rest.candles(SYMBOL, Timeframe.M1, start, END_MS)
    await rest.close()
    query = "SELECT timestamp, open, high, low, close, volume, revision FROM market_data ORDER BY timestamp"
    with engine(database_url).connect() as connection:
        rows = connection.execute(text(query)).all()
    assert [(round(row.timestamp.timestamp() * 1000), *row[1:]) for row in rows] == [
        (c.close_ms, c.open, c.high, c.low, c.close, c.volume, 0) for c in whole
    ]


async def test_trades_killed_ten_times(database_url: str, sim: RunningSim):
    """Six days of matches, page by page from the newest on: after ten kills and a last run every match is
    there once, as the exchange has it."""
    start = END_MS - 6 * DAY
    arguments = (sim.rest_url, database_url, SYMBOL, start, END_MS, 100)
    for _ in range(KILLS):
        # It tells when it has skipped what is stored, and after each batch.
        assert not await asyncio.to_thread(run_and_kill, trades, arguments, 2)
    assert await asyncio.to_thread(run_and_kill, trades, arguments, None)
    rest = OkxRest(sim.rest_url, Requester(sim.rest_url, budgets={}))
    pages = [page async for page in rest.trade_pages(SYMBOL, start, END_MS)]
    await rest.close()
    query = "SELECT trade_id, timestamp, price, size, side FROM raw_trades ORDER BY trade_id"
    with engine(database_url).connect() as connection:
        rows = connection.execute(text(query)).all()
    assert [(row.trade_id, round(row.timestamp.timestamp() * 1000), *row[2:]) for row in rows] == [
        (t.trade_id, t.timestamp_ms, t.price, t.size, t.side.value) for page in reversed(pages) for t in page
    ]
    assert len(rows) > 100 * (KILLS + 2)


async def test_bulk_files_killed_ten_times(database_url: str, sim: RunningSim, tmp_path: Path):
    """Twelve days of bulk files: after ten kills and a last run the lake has the files, byte for byte, of a
    run without a kill, and nothing else; unfinished downloads are gone."""
    arguments = (SYMBOL, END_MS - 15 * DAY, END_MS - 3 * DAY)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for _ in range(KILLS):
        begun = (sim.rest_url, database_url, str(killed), *arguments)
        assert not await asyncio.to_thread(run_and_kill, bulk_trades, begun, 1)
    assert await asyncio.to_thread(run_and_kill, bulk_trades, begun, None)
    with engine(database_url).begin() as connection:
        files = {file.path: file.sha256 for file in find_files(connection)}
    assert len(files) == 12 and verify_lake(database_url, str(killed / "lake")).sound
    assert list((killed / "bulk").iterdir()) == []
    with engine(database_url).begin() as connection:
        connection.execute(text("DELETE FROM lake_files"))
    again = (sim.rest_url, database_url, str(whole), *arguments)
    assert await asyncio.to_thread(run_and_kill, bulk_trades, again, None)
    made = {
        str(path.relative_to(whole / "lake")): sha256_of(path) for path in (whole / "lake").rglob("*.parquet")
    }
    assert made == files
