"""A disk that damages what waits for PostgreSQL costs nothing in the end: the exchange is asked again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from live.collector.collector import Collector
from live.collector.spool import Spool
from pipelines.bus.memory import MemoryBus
from pipelines.clock import ExchangeClock, SystemClock
from pipelines.warehouse.database import engine as engine_of
from tests.collecting import (
    FRAMES,
    MIDNIGHT,
    SPEED,
    SYMBOLS,
    closed_through,
    missing_and_repeated,
    stored_candles,
    tape_of,
)
from tests.exchange import FakeExchange
from tests.proxy import Proxy
from tests.waiting import until

pytestmark = pytest.mark.servers


@asynccontextmanager
async def collecting(
    exchange: FakeExchange, database_url: str, folder: Path, told: list[tuple[str, str]]
) -> AsyncIterator[Collector]:
    collector = Collector(
        SYMBOLS,
        FRAMES,
        exchange,
        exchange,
        engine_of(database_url),
        MemoryBus(),
        ExchangeClock(),
        SystemClock(),
        history_days=0,
        on_event=lambda level, event, message: told.append((event, message)),
        spool=Spool(folder, reserve_bytes=0),
    )
    task = asyncio.create_task(collector.run())
    try:
        yield collector
    finally:
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError), result


async def test_a_record_damaged_between_two_runs_is_refilled_by_id(database_url, tmp_path):
    tape = tape_of(minutes=60, start_ms=MIDNIGHT, seed=12)
    exchange, told = FakeExchange(tape, MIDNIGHT + 30_000, SPEED), list[tuple[str, str]]()
    async with Proxy(database_url) as proxy:
        async with collecting(exchange, proxy.url, tmp_path, told) as collector:
            await until(lambda: closed_through(database_url) >= MIDNIGHT + 2 * 60_000)
            await proxy.cut()
            await until(lambda: collector._writer.pending_trades > 100)
            assert await collector._writer.save()
            # From now on records of a minute or so of the market, one every quarter of a second.
            await until(lambda: collector.health()["spool"]["trades"] > 3_000)
        (path,) = tmp_path.glob("*.spool")
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 8] = b"\xff" * 8
        path.write_bytes(content)
        engine_of(proxy.url).dispose()
    target = closed_through(database_url)
    async with collecting(exchange, database_url, tmp_path, told):
        await until(lambda: closed_through(database_url) >= target + 12 * 60_000)
        target = closed_through(database_url)
        await until(lambda: not unclosed(database_url))
    assert "spool_damaged" in [event for event, _ in told]
    for symbol in SYMBOLS:
        start_ms = stored_candles(database_url, symbol, FRAMES[0], True)[0][0] - 60_000
        ours = [trade for trade in tape if trade.symbol == symbol]
        assert missing_and_repeated(database_url, ours, start_ms, target) == (set(), set())


def unclosed(database_url: str) -> int:
    query = text("SELECT count(*) FROM data_gaps WHERE state NOT IN ('refilled', 'unfillable')")
    with engine_of(database_url).connect() as connection:
        return connection.execute(query).scalar() or 0
