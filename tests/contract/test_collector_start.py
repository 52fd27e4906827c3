"""Where a symbol goes on when what is stored and what the exchange's REST tells do not meet."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec import structs
from sqlalchemy import text

from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.adopt import Hole
from live.collector.start import Opened, open_stream
from pipelines.lake.archive import archive_raw_trades
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.gaps import ledger_gaps, record_gap
from pipelines.warehouse.trades import copy_trades
from tests.exchange import FakeExchange, aggregated

pytestmark = pytest.mark.servers

SYMBOL = "BTC-USDT"
NOON = 1_763_726_400_000


def matches(count: int, first_id: int = 1_001) -> list[Trade]:
    """Single matches, five an instant of a second."""
    return [
        Trade(SYMBOL, first_id + n, NOON + n // 5 * 1_000, Decimal(100), Decimal(1), Side.BUY)
        for n in range(count)
    ]


class StandingExchange(FakeExchange):
    """Its clock stands at `now`, and its REST tells only of what happened `lag_ms` ago."""

    def __init__(self, tape: Sequence[Trade], now_ms: int, lag_ms: int = 0) -> None:
        super().__init__(tape, now_ms, speed=0)
        self._lag_ms = lag_ms

    def _until_now(self, symbol: str) -> list[Trade]:
        return [t for t in super()._until_now(symbol) if t.timestamp_ms <= self.now_ms() - self._lag_ms]


async def opened(database_url: str, exchange: FakeExchange, largest_refill: int = 50_000) -> Opened:
    """The start of the symbol; what it wants stored is stored."""
    engine = engine_of(database_url)
    found = await open_stream(SYMBOL, list(Timeframe), exchange, engine, largest_refill)
    store(database_url, found.new)
    return found


def store(database_url: str, trades: Sequence[Trade]) -> None:
    with engine_of(database_url).begin() as connection:
        copy_trades(connection, trades)


def stored_matches(database_url: str) -> tuple[int, int]:
    """(ids that the stored records cover, each as often as it is covered; from the lowest to the highest)"""
    query = text("SELECT sum(count), max(trade_id) - min(trade_id - count + 1) + 1 FROM raw_trades")
    with engine_of(database_url).connect() as connection:
        row = connection.execute(query).one()
    return int(row[0]), int(row[1])


async def test_a_rest_that_lags_behind_what_is_stored_stores_nothing_twice(database_url: str) -> None:
    tape = matches(100)
    store(database_url, aggregated(tape))
    found = await opened(database_url, StandingExchange(tape, NOON + 20_000, lag_ms=3_000))
    assert found.stream.continuity.last_id == tape[-1].trade_id
    assert found.too_large == []
    assert stored_matches(database_url) == (100, 100)


async def test_a_start_anew_in_a_minute_that_is_partly_stored_stores_the_rest_of_it_and_no_more(
    database_url: str,
) -> None:
    tape = matches(100)
    store(database_url, aggregated(tape[:60]))
    found = await opened(database_url, StandingExchange(tape, NOON + 20_000), largest_refill=10)
    assert stored_matches(database_url) == (100, 100)
    assert found.stream.trades == 100
    assert found.too_large == []


LONG_AFTER = NOON + 3_600_000


def long_after(first_id: int) -> list[Trade]:
    """A hundred matches an hour later."""
    return [
        structs.replace(trade, timestamp_ms=trade.timestamp_ms + LONG_AFTER - NOON)
        for trade in matches(100, first_id)
    ]


@pytest.mark.parametrize(
    ("known", "too_large", "adopted"),
    [
        ([], [(1_061, 1_091), (1_101, 1_999)], [(1_021, 1_025)]),
        ([(1_061, 1_091)], [(1_101, 1_999)], [(1_021, 1_025), (1_061, 1_091)]),
        (
            [(1_070, 1_070)],
            [(1_071, 1_091), (1_101, 1_999)],
            [(1_021, 1_025), (1_061, 1_069), (1_070, 1_070)],
        ),
    ],
)
async def test_holes_that_a_killed_process_did_not_write_down_are_in_the_ledger_after_a_start_anew(
    database_url: str, known: list[Hole], too_large: list[Hole], adopted: list[Hole]
) -> None:
    """Five ids are asked for, thirty are left to candles, but for those that the ledger knows of: with them
    it is as it was. What the killed process had stored behind them stays."""
    tape = matches(100)
    stored = tape[:20] + tape[25:60] + tape[91:]
    store(database_url, stored)
    with engine_of(database_url).begin() as connection:
        for hole in known:
            record_gap(connection, SYMBOL, *hole, "open", NOON)
    exchange = StandingExchange(tape + long_after(2_000), LONG_AFTER + 30_000)
    found = await opened(database_url, exchange, largest_refill=20)
    assert (found.too_large, found.adopted) == (too_large, adopted)
    assert found.stream.continuity.missing_within(1_021, 1_025)
    with engine_of(database_url).connect() as connection:
        rows = [(row.first_id, row.last_id) for row in ledger_gaps(connection, SYMBOL)]
        done = [(row.first_id, row.last_id) for row in ledger_gaps(connection, SYMBOL, ("unfillable",))]
    assert (rows, done) == (adopted, [])


async def test_trades_that_left_for_the_lake_are_gone_on_from(database_url: str, tmp_path: Path) -> None:
    """Every stored trade was archived and dropped, also those of a minute that was not released yet: what
    came after the last released minute is a gap, which is refilled, and no minute begins in its middle."""
    tape = matches(1_000)
    store(database_url, tape[:600])
    first = Candle(SYMBOL, Timeframe.M1, NOON + 60_000, *[Decimal(100)] * 4, Decimal(300), trades_count=300)
    with engine_of(database_url).begin() as connection:
        upsert_candles(connection, [first])
    day = datetime.fromtimestamp(NOON // 1000, UTC).date()
    assert archive_raw_trades(database_url, str(tmp_path), SYMBOL, day, drop=True).dropped == 600
    found = await opened(database_url, StandingExchange(tape, NOON + 200_000))
    assert [(gap.first_id, gap.last_id) for gap in found.stream.continuity.gaps] == [(1_301, 1_500)]
    assert found.stream.continuity.last_id == tape[-1].trade_id and found.too_large == []
