"""Symbols whose raw trades are not stored: their candles are complete all the same, over restarts too."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import text

from config.settings import Settings
from core.timeframes import Timeframe
from live.collector.collector import Collector
from pipelines.bus.memory import MemoryBus
from pipelines.clock import ExchangeClock, SystemClock
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.resume import resume_point
from pipelines.warehouse.sql import to_ms
from pipelines.warehouse.trade_marks import last_mark, mark_day, record_marks, store_trades
from tests.aggregation import candles_of, trades_frame
from tests.collecting import (
    FRAMES,
    MIDNIGHT,
    SPEED,
    SYMBOLS,
    Misbehaviour,
    closed_through,
    stored_candles,
    tape_of,
)
from tests.exchange import FakeExchange
from tests.waiting import until

pytestmark = pytest.mark.servers

UNKEPT, KEPT = SYMBOLS


@asynccontextmanager
async def collecting(
    exchange: FakeExchange, database_url: str, unkept: frozenset[str]
) -> AsyncIterator[None]:
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
        on_event=lambda level, event, message: None,
        unkept=unkept,
    )
    task = asyncio.create_task(collector.run())
    try:
        yield
    finally:
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError), result


def stored_trades(database_url: str, symbol: str) -> int:
    with engine_of(database_url).connect() as connection:
        query = text("SELECT count(*) FROM raw_trades WHERE symbol = :symbol")
        return connection.execute(query, {"symbol": symbol}).scalar() or 0


async def test_restarts_without_raw_trades_cost_no_candle_and_no_digit(database_url):
    """Four runs over a feed that loses and repeats; the second keeps all trades, as after a change."""
    tape = tape_of(minutes=40, start_ms=MIDNIGHT, seed=8)
    exchange = FakeExchange(tape, MIDNIGHT + 30_000, SPEED, Misbehaviour(3))
    for minutes, unkept in ((4, {UNKEPT}), (8, set()), (12, {UNKEPT}), (16, {UNKEPT})):
        async with collecting(exchange, database_url, frozenset(unkept)):
            target = MIDNIGHT + minutes * 60_000
            await until(lambda t=target: closed_through(database_url) >= t)
        if minutes == 4:
            assert stored_trades(database_url, UNKEPT) == 0
            assert stored_trades(database_url, KEPT) > 0
    for symbol in SYMBOLS:
        truth = {
            row[0]: row
            for row in candles_of(trades_frame([t for t in tape if t.symbol == symbol]), Timeframe.M1, target)
        }
        own = [row for row in stored_candles(database_url, symbol, Timeframe.M1, True) if row[0] <= target]
        assert [row[0] for row in own] == list(range(own[0][0], target + 1, 60_000))
        assert [row for row in own if row != truth[row[0]]] == []


def test_a_mark_is_the_last_trade_of_a_minute_whatever_is_repeated(database_url):
    tape = [trade for trade in tape_of(minutes=6, start_ms=MIDNIGHT, seed=9) if trade.symbol == UNKEPT]
    with engine_of(database_url).begin() as connection:
        for begin in (0, 40, 20, 0):
            record_marks(connection, tape[begin : begin + 200])
        record_marks(connection, tape)
        for close_ms in range(MIDNIGHT + 60_000, MIDNIGHT + 6 * 60_000, 60_000):
            before = [trade for trade in tape if trade.timestamp_ms < close_ms]
            mark = last_mark(connection, UNKEPT, close_ms)
            assert mark is not None
            assert mark.trade_id == before[-1].trade_id
        late = tape_of(minutes=1, start_ms=MIDNIGHT + 10 * 86_400_000)[:1]
        record_marks(connection, late)
        assert connection.execute(text("SELECT count(*) FROM trade_marks")).scalar() == 1


def test_a_day_that_leaves_has_the_same_marks_and_an_old_one_none(database_url):
    """In whatever order the days leave."""
    first = datetime.fromtimestamp(MIDNIGHT // 1000, UTC).date()
    later = [MIDNIGHT + days * 86_400_000 for days in (0, 10)]
    tapes = [[t for t in tape_of(minutes=3, start_ms=at, seed=9) if t.symbol == KEPT] for at in later]
    newer = [msgspec.structs.replace(trade, trade_id=trade.trade_id + 10_000_000) for trade in tapes[1]]
    with engine_of(database_url).connect() as connection:
        found = []
        for days in ((0, 10), (10, 0), None):
            if days is None:
                record_marks(connection, newer)
            else:
                store_trades(connection, [*tapes[0], *newer], frozenset())
                for day in days:
                    mark_day(connection, KEPT, first + timedelta(days=day))
            rows = connection.execute(
                text("SELECT timestamp, trade_id, traded_at FROM trade_marks ORDER BY 1")
            )
            found.append([(to_ms(row.timestamp), row.trade_id, row.traded_at) for row in rows])
            connection.rollback()
    assert found[0] == found[1] == found[2] and len(found[0]) > 2


def test_without_a_candle_of_its_own_a_symbol_begins_anew(database_url):
    tape = tape_of(minutes=1, start_ms=MIDNIGHT)
    with engine_of(database_url).begin() as connection:
        store_trades(connection, tape, {UNKEPT})
        assert resume_point(connection, UNKEPT) is None
        assert resume_point(connection, KEPT) is not None


def test_the_setting_names_what_is_kept():
    def unkept(value: str) -> frozenset[str]:
        return Settings(symbols="BTC-USDT,ETH-USDT", raw_trades=value).unkept_symbols

    assert unkept("all") == frozenset()
    assert unkept("none") == {"BTC-USDT", "ETH-USDT"}
    assert unkept("ETH-USDT, SOL-USDT") == {"BTC-USDT"}


def test_a_wrong_setting_is_named_with_what_was_expected():
    ended = subprocess.run(
        [sys.executable, "-m", "cli.main", "status"],
        env=os.environ | {"TCP_RAW_TRADES": "some"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert "TCP_RAW_TRADES" in ended.stderr
    assert "all, none or pairs" in ended.stderr
