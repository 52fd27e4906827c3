"""The whole collector on real servers, fed by an exchange that loses, repeats and disorders."""

import asyncio
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import text

from core.timeframes import Timeframe
from core.trades import Side, Trade
from pipelines.bus.memory import MemoryBus
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.database import engine as engine_of
from tests.aggregation import candles_of, trades_frame
from tests.collecting import (
    FRAMES,
    MIDNIGHT,
    SPEED,
    SYMBOLS,
    Misbehaviour,
    all_stored,
    assert_complete,
    begin_of,
    closed_through,
    collecting,
    ledger,
    missing,
    ms_of,
    read_finals,
    stored_candles,
    tape_of,
)
from tests.exchange import FakeExchange
from tests.waiting import until

pytestmark = pytest.mark.servers


async def test_six_timeframes_over_midnight_equal_an_aggregation_of_the_trades(database_url, redis_url):
    start_ms = MIDNIGHT - 6 * 60_000
    tape = tape_of(minutes=30, start_ms=start_ms - 60_000) + earlier_tape()
    exchange = FakeExchange(tape, start_ms + 20_000, SPEED)
    bus = RedisBus(redis_url)
    target = MIDNIGHT + 5 * 60_000
    async with collecting(exchange, database_url, bus):
        await until(lambda: closed_through(database_url) >= target)
        # A busy machine begins minutes later.
        target = max(target, *(begin_of(database_url, symbol) + 3 * 60_000 for symbol in SYMBOLS))
        await until(lambda: closed_through(database_url) >= target)
    await bus.close()
    assert_complete(database_url, tape, start_ms, target)
    for symbol in SYMBOLS:
        ours = trades_frame([t for t in tape if t.symbol == symbol])
        for timeframe in FRAMES:
            at_midnight = {row[0]: row for row in stored_candles(database_url, symbol, timeframe, False)}
            assert (
                at_midnight[MIDNIGHT][:6]
                == {r[0]: r for r in candles_of(ours, timeframe, MIDNIGHT)}[MIDNIGHT][:6]
            )


def earlier_tape() -> list[Trade]:
    """A quiet day before: a trade a minute and symbol, with ids right below those of `tape_of`."""
    minutes = 24 * 60 - 7
    return [
        Trade(
            symbol,
            1_000_000 * (n + 1) - minutes + 1 + minute,
            MIDNIGHT - 86_400_000 + minute * 60_000 + 500,
            Decimal(60_000 + minute % 97),
            Decimal(1),
            Side.SELL,
        )
        for n, symbol in enumerate(SYMBOLS)
        for minute in range(minutes)
    ]


async def test_lost_repeated_and_disordered_trades_are_made_good_before_a_candle_is_released(
    database_url, redis_url
):
    tape = tape_of(minutes=60, start_ms=MIDNIGHT)
    fault = Misbehaviour(seed=7)
    exchange = FakeExchange(tape, MIDNIGHT + 30_000, SPEED, fault)
    bus = RedisBus(redis_url)
    finals: list[dict] = []
    reading = asyncio.create_task(read_finals(bus, finals))
    async with collecting(exchange, database_url, bus) as collector:
        await until(lambda: len(finals) > 0 and closed_through(database_url) > 0)
        # From here on, however long the start took: an exchange's minute is a fifth of a second.
        target = closed_through(database_url) + 8 * 60_000
        await until(lambda: closed_through(database_url) >= target)
        exchange.fault = list
        healed = exchange.now_ms() + 60_000
        await until(lambda: closed_through(database_url) >= healed and not missing(collector))
        await until(lambda: not ledger(database_url, "open") + ledger(database_url, "refilling"))
        await until(lambda: all_stored(database_url, tape, target))
        await until(lambda: {f["symbol"] for f in finals if ms_of(f["timestamp"]) >= target} == set(SYMBOLS))
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await bus.close()
    assert fault.lost > 20
    assert len(exchange.asked_ids) > 5
    assert_complete(database_url, tape, MIDNIGHT, target)
    assert {(f["revision"], f["provisional"]) for f in finals} == {(0, False)}
    keys = [(f["symbol"], f["timeframe"], f["timestamp"]) for f in finals]
    assert len(keys) == len(set(keys))
    with engine_of(database_url).connect() as connection:
        states = set(connection.execute(text("SELECT DISTINCT state FROM data_gaps")).scalars())
    assert states == {"refilled"}


async def test_a_collector_that_was_stopped_goes_on_where_it_was(database_url):
    tape = tape_of(minutes=90, start_ms=MIDNIGHT, seed=3)
    exchange = FakeExchange(tape, MIDNIGHT + 90_000, SPEED, Misbehaviour(seed=2))
    target = MIDNIGHT
    for minutes in (5, 3, 7):
        target = max(target, closed_through(database_url)) + minutes * 60_000
        async with collecting(exchange, database_url, MemoryBus()):
            await until(lambda t=target: closed_through(database_url) >= t)
    assert_complete(database_url, tape, MIDNIGHT, target)


async def test_a_hole_too_large_to_refill_by_id_is_closed_by_the_exchanges_candles(database_url):
    """The hole comes long after the first collector was told to stop, however slow the machine is."""
    hole_ms = MIDNIGHT + 23 * 60_000  # the last trade of twenty minutes may be two and a half later
    later = [
        msgspec.structs.replace(trade, trade_id=trade.trade_id + 100_000)
        for trade in tape_of(minutes=20, start_ms=hole_ms, seed=9)
    ]
    tape = tape_of(minutes=20, start_ms=MIDNIGHT, seed=9) + later
    exchange = FakeExchange(tape, MIDNIGHT + 10_000, SPEED)
    async with collecting(exchange, database_url, MemoryBus()):
        await until(lambda: closed_through(database_url) >= MIDNIGHT + 3 * 60_000)
    await until(lambda: exchange.now_ms() >= hole_ms + 4 * 60_000)
    target = hole_ms + 8 * 60_000
    async with collecting(exchange, database_url, MemoryBus()) as collector:
        await until(lambda: closed_through(database_url) >= target)
        await until(lambda: collector.health()["history"] == "complete")
    for symbol in SYMBOLS:
        stored = [
            row for row in stored_candles(database_url, symbol, Timeframe.M1, False) if row[0] <= target
        ]
        ours = trades_frame([t for t in tape if t.symbol == symbol])
        truth = {row[0]: row for row in candles_of(ours, Timeframe.M1, target)}
        assert [row[:6] for row in stored] == [row[:6] for row in truth.values()]
    with engine_of(database_url).connect() as connection:
        states = list(connection.execute(text("SELECT state FROM data_gaps")).scalars())
    assert states == ["unfillable"] * len(SYMBOLS)


def test_the_tape_has_bursts_and_empty_minutes():
    tape = [t for t in tape_of(minutes=30, start_ms=MIDNIGHT, seed=1) if t.symbol == "BTC-USDT"]
    minutes = {t.timestamp_ms // 60_000 for t in tape}
    assert len({t.timestamp_ms for t in tape}) < len(tape)
    assert len(minutes) < max(minutes) - min(minutes) + 1
    assert all(msgspec.structs.replace(t, count=1) == t for t in tape)
