"""Our minutes against the exchange's own rows: equal, explained or told."""

import asyncio
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import Engine, text

from core.candle_builder import CandleBuilder
from core.candles import Candle
from core.clock import Clock
from core.continuity import Continuity
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.reconcile import Reconciler, explain
from live.collector.stream import SymbolStream
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.gaps import record_gap
from pipelines.warehouse.resume import exact_candles
from pipelines.warehouse.trades import copy_trades
from tests.exchange import FakeExchange

pytestmark = pytest.mark.servers

SYMBOL = "BTC-USDT"
MIDNIGHT = 1_763_683_200_000
MINUTE = 60_000


class At(Clock):
    """A clock that is set."""

    def __init__(self, now_ms: int) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms


class Desk:
    """A reconciler over stored minutes of a tape: a trade a minute from midnight."""

    def __init__(self, engine: Engine, minutes: int = 20) -> None:
        self.engine = engine
        self.tape = [
            Trade(SYMBOL, n + 1, MIDNIGHT + n * MINUTE + 5, Decimal(60_000 + n), Decimal(2), Side.BUY)
            for n in range(minutes)
        ]
        self.exchange = FakeExchange(self.tape, MIDNIGHT + minutes * MINUTE + 1, 0.0)
        self.stream = SymbolStream(SYMBOL, [Timeframe.M1, Timeframe.M5], MIDNIGHT, Continuity(0))
        self.events: list[tuple[str, str, str]] = []
        self.written: list[Candle] = []
        self.clock = At(MIDNIGHT + minutes * MINUTE)
        self.desk = self.reconciler()

    def reconciler(self) -> Reconciler:
        return Reconciler(
            self.exchange, self.engine, self.clock, [Timeframe.M1, Timeframe.M5], self.store, self.tell
        )

    def tell(self, level: str, event: str, message: str) -> None:
        self.events.append((level, event, message))

    def store(self, candles: list[Candle]) -> None:
        self.written += candles
        with self.engine.begin() as connection:
            upsert_candles(connection, candles)

    def collect(self, lost: frozenset[int] = frozenset()) -> None:
        """Everything but the lost ids, given up."""
        got = [trade for trade in self.tape if trade.trade_id not in lost]
        self.stream.take(got)
        with self.engine.begin() as connection:
            copy_trades(connection, got)
            for trade_id in lost:
                self.stream.continuity.give_up(trade_id, trade_id)
                record_gap(connection, SYMBOL, trade_id, trade_id, "unfillable", self.clock.now_ms())
        self.stream.confirm_quiet(self.clock.now_ms())
        self.store(self.stream.advance(self.clock.now_ms(), 0, 0.0)[0])
        self.written.clear()

    async def compare(self, kind: str = "recent") -> None:
        await (
            self.desk._recent(self.stream) if kind == "recent" else self.desk._daily(self.stream, self.end)
        )
        self.store(self.stream.advance(self.clock.now_ms(), 0, 0.0)[0])

    @property
    def end(self) -> int:
        return self.clock.now_ms()

    def differences(self) -> list[tuple]:
        query = text(
            "SELECT (extract(epoch FROM timestamp) * 1000)::bigint, explanation, our_volume, their_volume, "
            "resolved_at IS NOT NULL FROM candle_differences ORDER BY 1"
        )
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def stored(self, timeframe: Timeframe, close_ms: int) -> Candle:
        with self.engine.connect() as connection:
            (candle,) = exact_candles(connection, SYMBOL, timeframe, close_ms - 1, close_ms)
        return candle


@pytest.fixture
def desk(database_url) -> Desk:
    return Desk(engine_of(database_url))


async def test_equal_minutes_are_counted_once_and_the_newest_two_wait(desk):
    desk.collect()
    await desk.compare()
    await desk.compare()
    health = desk.desk.health()
    assert (health["compared"], health["differing"]) == (18, 0)
    assert health["through_ms"] == {SYMBOL: MIDNIGHT + 18 * MINUTE}
    assert (desk.differences(), desk.events, desk.written) == ([], [], [])


async def test_after_a_restart_it_goes_on_where_it_was(desk):
    desk.collect()
    await desk.compare()
    desk.desk = desk.reconciler()
    await desk.compare()
    assert desk.desk.health()["compared"] == 0


async def test_a_minute_in_a_known_gap_is_taken_over_with_what_is_made_of_it(desk):
    at = MIDNIGHT + 8 * MINUTE
    desk.collect(lost=frozenset({8}))
    ours = desk.stored(Timeframe.M5, MIDNIGHT + 10 * MINUTE)
    await desk.compare()
    assert desk.differences() == [(at, "known_gap", 0, 2, True)]
    assert [event[:2] for event in desk.events] == [("warning", "candles_differ")]
    assert desk.stored(Timeframe.M1, at).volume == 2
    assert desk.stored(Timeframe.M1, at).revision == 1
    corrected = desk.stored(Timeframe.M5, MIDNIGHT + 10 * MINUTE)
    assert (ours.volume, corrected.volume, corrected.revision) == (8, 10, 1)


async def test_a_difference_that_nothing_explains_is_an_error_once_and_our_minute_stands(desk):
    at = MIDNIGHT + 3 * MINUTE
    desk.collect()
    desk.exchange.other_volumes[SYMBOL, Timeframe.M1, at] = Decimal(7)
    await desk.compare()
    assert desk.differences() == [(at, "unexplained", 2, 7, False)]
    assert [event[:2] for event in desk.events] == [("error", "candles_differ")]
    assert desk.stored(Timeframe.M1, at).volume == 2
    await desk.compare("daily")
    assert len(desk.events) == 1
    desk.exchange.other_volumes.clear()
    desk.desk = desk.reconciler()
    with desk.engine.begin() as connection:
        connection.execute(text("DELETE FROM reconciliations WHERE kind = 'daily'"))
    await desk.compare("daily")
    assert desk.differences() == [(at, "exchange_revision", 2, 7, True)]


async def test_a_later_revision_of_the_exchange_is_taken_over_as_a_revision(desk):
    at = MIDNIGHT + 3 * MINUTE
    desk.collect()
    await desk.compare()
    desk.exchange.other_volumes[SYMBOL, Timeframe.M1, at] = Decimal("2.5")
    await desk.compare("daily")
    assert desk.differences() == [(at, "exchange_revision", 2, Decimal("2.5"), True)]
    assert [event[:2] for event in desk.events] == [("info", "candles_differ")]
    stored = desk.stored(Timeframe.M1, at)
    assert (stored.volume, stored.revision, stored.source) == (Decimal("2.5"), 1, "exchange")
    assert desk.stored(Timeframe.M5, MIDNIGHT + 5 * MINUTE).volume == Decimal("10.5")


async def test_a_revision_of_a_minute_no_longer_in_memory_goes_to_the_store_with_the_longer_candles(desk):
    at = MIDNIGHT + 3 * MINUTE
    desk.collect()
    await desk.compare()
    desk.stream.builder = CandleBuilder(SYMBOL, [Timeframe.M1], desk.stream.builder.closed_through_ms)
    desk.exchange.other_volumes |= {
        (SYMBOL, Timeframe.M1, at): Decimal(3),
        (SYMBOL, Timeframe.M5, MIDNIGHT + 5 * MINUTE): Decimal(11),
    }
    await desk.compare("daily")
    assert desk.stored(Timeframe.M1, at).volume == 3
    longer = desk.stored(Timeframe.M5, MIDNIGHT + 5 * MINUTE)
    assert (longer.volume, longer.revision) == (11, 1)


async def test_it_runs_by_exchange_time_recent_minutes_first_and_the_day_after_midnight(desk):
    desk.collect()
    desk.clock.at_ms = MIDNIGHT + 31 * MINUTE
    running = asyncio.create_task(desk.desk.run({SYMBOL: desk.stream}))
    async with asyncio.timeout(20):
        while desk.desk.health()["compared"] < 18:
            await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert desk.desk._next_ms["recent"] == MIDNIGHT + 36 * MINUTE
    assert desk.desk._next_ms["daily"] == MIDNIGHT + (24 * 60 + 30) * MINUTE


def test_the_explanation_is_the_one_that_is_known():
    price = Decimal(1)
    ours = Candle(SYMBOL, Timeframe.M1, MIDNIGHT, price, price, price, price, price)
    assert explain(ours, compared_before=False, in_gap=False) == "unexplained"
    assert explain(ours, compared_before=True, in_gap=False) == "exchange_revision"
    assert explain(ours, compared_before=False, in_gap=True) == "known_gap"
    assert explain(msgspec.structs.replace(ours, provisional=True), False, False) == "known_gap"
    assert explain(msgspec.structs.replace(ours, source="exchange"), False, True) == "exchange_revision"
