"""The whole collector while PostgreSQL, Redis or the exchange's REST is away."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import text

from core.timeframes import Timeframe
from core.trades import Trade
from live.collector.backlog import Bounds
from pipelines.bus.memory import MemoryBus
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.database import engine as engine_of
from tests.collecting import (
    MIDNIGHT,
    SPEED,
    SYMBOLS,
    assert_complete,
    closed_through,
    collecting,
    ledger,
    missing,
    ms_of,
    overlaps,
    provisional,
    read_finals,
    tape_of,
)
from tests.exchange import FakeExchange
from tests.proxy import Proxy
from tests.waiting import until

pytestmark = pytest.mark.servers


async def test_a_collector_that_ends_in_the_middle_of_a_refill_leaves_rows_that_the_next_start_closes(
    database_url,
):
    tape = tape_of(minutes=30, start_ms=MIDNIGHT, seed=12)
    lost: list[Trade] = []
    exchange = FakeExchange(
        tape, MIDNIGHT + 30_000, 60.0, lambda frame: [t for t in frame if not overlaps(t, lost)]
    )
    async with collecting(exchange, database_url, MemoryBus()) as collector:
        await until(lambda: collector.health()["history"] == "complete")
        exchange.rest_is_away = True
        soon_ms = exchange.now_ms() + 10_000
        for symbol in SYMBOLS:
            lost += [t for t in tape if t.symbol == symbol and t.timestamp_ms >= soon_ms][:15]
        through_ms = Timeframe.M1.close_ms(max(t.timestamp_ms for t in lost)) + 3 * 60_000
        await until(lambda: len(ledger(database_url, "refilling")) == len(SYMBOLS), 60)
    holes = ledger(database_url, "refilling")
    exchange.rest_is_away = False
    async with collecting(exchange, database_url, MemoryBus()) as collector:
        await until(lambda: set(holes) <= set(ledger(database_url, "refilled")))
        await until(lambda: closed_through(database_url) >= through_ms)
        await until(lambda: not provisional(database_url) and not missing(collector))
    assert_complete(database_url, tape, MIDNIGHT, through_ms)


async def test_postgres_away_for_two_seconds_loses_nothing(database_url):
    tape = tape_of(minutes=60, start_ms=MIDNIGHT, seed=4)
    exchange = FakeExchange(tape, MIDNIGHT + 30_000, SPEED)
    async with Proxy(database_url) as proxy, collecting(exchange, proxy.url, MemoryBus()) as collector:
        await until(lambda: closed_through(database_url) >= MIDNIGHT + 3 * 60_000)
        target = closed_through(database_url) + 13 * 60_000
        await proxy.cut()
        await until(lambda: collector.health()["postgres_away"])
        away_at = collector.health()["received_trades"]
        await until(lambda: collector.health()["received_trades"] > away_at + 300)
        await proxy.restore()
        await until(lambda: closed_through(database_url) >= target)
        await until(lambda: not provisional(database_url) and not missing(collector))
    engine_of(proxy.url).dispose()
    assert_complete(database_url, tape, MIDNIGHT, target)


async def test_redis_away_does_not_keep_data_from_postgres_and_final_candles_follow_in_order(
    database_url, redis_url
):
    tape = tape_of(minutes=60, start_ms=MIDNIGHT, seed=8)
    exchange = FakeExchange(tape, MIDNIGHT + 30_000, SPEED)
    finals: list[dict] = []
    reader = RedisBus(redis_url)
    reading = asyncio.create_task(read_finals(reader, finals))
    async with Proxy(redis_url) as proxy:
        bus = RedisBus(proxy.url)
        async with collecting(exchange, database_url, bus) as collector:
            await until(lambda: len(finals) > 0 and closed_through(database_url) > 0)
            await proxy.cut()
            await until(lambda: collector.health()["bus_away"])
            target = closed_through(database_url) + 4 * 60_000
            await until(lambda: closed_through(database_url) >= target)
            await proxy.restore()
            target += 3 * 60_000
            await until(lambda: any(ms_of(f["timestamp"]) >= target for f in finals))
        await bus.close()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await reader.close()
    for symbol in SYMBOLS:
        closes = [ms_of(f["timestamp"]) for f in finals if (f["symbol"], f["timeframe"]) == (symbol, "1m")]
        assert sorted(set(closes)) == list(range(min(closes), max(closes) + 1, 60_000))
        assert closes == sorted(closes)


async def test_trades_refused_by_a_full_queue_are_asked_for_again(database_url):
    tape = tape_of(minutes=60, start_ms=MIDNIGHT, seed=5)
    exchange = FakeExchange(tape, MIDNIGHT + 30_000, SPEED)
    async with Proxy(database_url) as proxy, collecting(exchange, proxy.url, MemoryBus()) as collector:
        collector._writer._bounds = Bounds(capacity_trades=100)
        await until(lambda: closed_through(database_url) >= MIDNIGHT + 2 * 60_000)
        target = closed_through(database_url) + 10 * 60_000
        await proxy.cut()
        await until(lambda: collector.health()["refused_trades"] > 100)
        await proxy.restore()
        await until(lambda: closed_through(database_url) >= target)
        await until(lambda: not provisional(database_url) and not missing(collector))
    engine_of(proxy.url).dispose()
    assert_complete(database_url, tape, MIDNIGHT, target)


async def test_a_candle_past_the_budget_goes_out_provisional_and_comes_again_complete_with_all_above(
    database_url, redis_url
):
    tape = tape_of(minutes=60, start_ms=MIDNIGHT, seed=6)
    lost = [t for t in tape if MIDNIGHT + 120_000 <= t.timestamp_ms < MIDNIGHT + 150_000]
    exchange = FakeExchange(
        tape, MIDNIGHT + 30_000, 60.0, lambda frame: [t for t in frame if not overlaps(t, lost)]
    )
    finals: list[dict] = []
    bus = RedisBus(redis_url)
    reading = asyncio.create_task(read_finals(bus, finals))
    async with collecting(exchange, database_url, bus) as collector:
        await until(lambda: closed_through(database_url) >= MIDNIGHT + 60_000)
        exchange.rest_is_away = True
        await until(lambda: any(f["timeframe"] == "5m" and f["provisional"] for f in finals), 30)
        exchange.rest_is_away = False
        await until(lambda: not provisional(database_url) and not missing(collector))
        await until(lambda: revised(finals) == {"1m", "5m"})
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await bus.close()
    assert_complete(database_url, tape, MIDNIGHT, MIDNIGHT + 5 * 60_000)
    issues: dict[tuple, list[dict]] = {}
    for final in finals:
        issues.setdefault((final["symbol"], final["timeframe"], final["timestamp"]), []).append(final)
    for issued in issues.values():
        assert [f["revision"] for f in issued] == list(range(len(issued)))
        counts = [f["trades_count"] for f in issued]
        assert counts == sorted(counts)
    stored = revisions(database_url)
    assert {key: issued[-1]["revision"] for key, issued in issues.items()}.items() <= stored.items()


def revised(finals: Sequence[dict]) -> set[str]:
    """Timeframes of which a candle was published again, complete."""
    return {f["timeframe"] for f in finals if f["revision"] and not f["provisional"]}


def revisions(database_url: str) -> dict[tuple, int]:
    query = text("SELECT symbol, timeframe, timestamp AT TIME ZONE 'UTC' AS at, revision FROM market_data")
    with engine_of(database_url).connect() as connection:
        rows = connection.execute(query).all()
    return {(row.symbol, row.timeframe, row.at.isoformat() + "Z"): row.revision for row in rows}
