"""The whole collector while the exchange does not list one of its symbols, or sends times that cannot be."""

import asyncio

import msgspec
import pytest
from sqlalchemy import text

from core.errors import BadInput
from core.trades import Trade
from live.daemon import failure
from pipelines.bus.memory import MemoryBus
from pipelines.warehouse.database import engine as engine_of
from tests.collecting import (
    MIDNIGHT,
    SPEED,
    SYMBOLS,
    assert_complete,
    closed_through,
    collecting,
    collector_of,
    missing_and_repeated,
    tape_of,
)
from tests.exchange import FakeExchange
from tests.waiting import until

pytestmark = pytest.mark.servers

LISTED, GONE = SYMBOLS
YEAR_9999_MS = 253_402_300_799_999


def finals(database_url: str, symbol: str) -> int:
    query = text("SELECT count(*) FROM market_data WHERE symbol = :symbol AND source = 'trades'")
    with engine_of(database_url).connect() as connection:
        return connection.execute(query, {"symbol": symbol}).scalar() or 0


def from_the_feed(database_url: str, symbol: str) -> int:
    query = text("SELECT count(*) FROM raw_trades WHERE symbol = :symbol AND source = 'websocket'")
    with engine_of(database_url).connect() as connection:
        return connection.execute(query, {"symbol": symbol}).scalar() or 0


async def test_a_symbol_that_is_not_listed_is_left_out_until_it_is(database_url):
    """The other one is collected meanwhile; one event names it and the remedy."""
    tape, told = tape_of(minutes=120, start_ms=MIDNIGHT, seed=21), list[tuple[str, str, str]]()
    exchange = FakeExchange(tape, MIDNIGHT + 30_000, SPEED)
    exchange.unlisted = {GONE}
    async with collecting(
        exchange, database_url, MemoryBus(), lambda *event: told.append(event), ask_unlisted_s=0.1
    ) as collector:
        await until(lambda: finals(database_url, LISTED) >= 5)
        assert collector.health()["symbols"][GONE]["state"] == "unlisted"
        await until(lambda: collector.health()["history"] == "complete")
        exchange.unlisted = set()
        await until(lambda: collector.health()["symbols"][GONE]["state"] == "live")
        await until(lambda: finals(database_url, GONE) >= 5 and from_the_feed(database_url, GONE) > 50)
        target = closed_through(database_url)
    ((level, _, message),) = [event for event in told if event[1] == "symbol_unlisted"]
    assert level == "error"
    assert GONE in message
    assert "TCP_SYMBOLS" in message
    assert [event for _, event, _ in told].count("symbol_listed") == 1
    ours = [trade for trade in tape if trade.symbol == LISTED]
    assert missing_and_repeated(database_url, ours, MIDNIGHT + 3 * 60_000, target) == (set(), set())


async def test_a_collector_without_a_listed_symbol_ends_with_the_exchanges_reason(database_url):
    """One error in one line, of which no event is told: the daemon is not running."""
    exchange, told = FakeExchange([], MIDNIGHT, SPEED), list[str]()
    exchange.unlisted = set(SYMBOLS)
    collector = collector_of(
        exchange, database_url, MemoryBus(), lambda level, event, message: told.append(event)
    )
    task = asyncio.create_task(collector.run())
    await asyncio.wait({task}, timeout=20)
    error = failure(task)
    assert isinstance(error, BadInput)
    assert LISTED in str(error)
    assert "symbol_unlisted" not in told


async def test_a_quiet_symbol_that_is_delisted_ends_no_other(database_url):
    """Its minutes wait; they close when the exchange answers for it again."""
    end_ms = MIDNIGHT + 15 * 60_000
    tape = [
        trade
        for trade in tape_of(minutes=120, start_ms=MIDNIGHT, seed=22)
        if trade.symbol == LISTED or trade.timestamp_ms < end_ms
    ]
    exchange = FakeExchange(tape, MIDNIGHT + 30_000, SPEED)
    async with collecting(exchange, database_url, MemoryBus()) as collector:
        await until(lambda: finals(database_url, GONE) >= 2)
        await until(lambda: collector.health()["history"] == "complete")
        exchange.unlisted = {GONE}
        refused, before = exchange.refusals, finals(database_url, LISTED)
        await until(lambda: exchange.now_ms() > end_ms + 60_000 and exchange.refusals > refused)
        await until(lambda: finals(database_url, LISTED) >= before + 10)
        exchange.unlisted = set()
        await until(lambda: closed_through(database_url) >= end_ms + 5 * 60_000)


async def test_an_impossible_time_before_the_exchanges_clock_is_known_is_no_trade(database_url):
    """It is left out with the early trades, and its id does not count."""
    tape = tape_of(minutes=60, start_ms=MIDNIGHT, seed=23)
    spoilt: set[str] = set()

    def spoil(frame: list[Trade]) -> list[Trade]:
        if not exchange.rest_is_away:
            return frame
        spoilt.update(trade.symbol for trade in frame)
        return frame + [
            msgspec.structs.replace(t, trade_id=t.trade_id + 100_000, timestamp_ms=YEAR_9999_MS)
            for t in frame
        ]

    exchange = FakeExchange(tape, MIDNIGHT + 30_000, SPEED, spoil)
    exchange.rest_is_away = True
    async with collecting(exchange, database_url, MemoryBus()):
        await until(lambda: spoilt == set(SYMBOLS))
        exchange.rest_is_away = False
        await until(lambda: closed_through(database_url) > 0)
        target = closed_through(database_url) + 8 * 60_000
        await until(lambda: closed_through(database_url) >= target)
    assert_complete(database_url, tape, MIDNIGHT, target)
