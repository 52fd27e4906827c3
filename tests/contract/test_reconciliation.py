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
from live.collector.judge import Evidence, Known, judge
from live.collector.reconcile import Reconciler
from live.collector.stream import SymbolStream
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.gaps import missing_ids, record_gap
from pipelines.warehouse.reconciliation import record_reconciled
from pipelines.warehouse.resume import exact_candles
from pipelines.warehouse.trades import copy_trades
from tests.exchange import FakeExchange

pytestmark = pytest.mark.servers

SYMBOL = "BTC-USDT"
MIDNIGHT = 1_763_683_200_000
MINUTE = 60_000
DAY = 86_400_000


class At(Clock):
    """A clock that is set."""

    def __init__(self, now_ms: int) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        return self.at_ms


class Desk:
    """A reconciler over stored minutes of a tape: a trade a minute from midnight."""

    FRAMES = (Timeframe.M1, Timeframe.M5, Timeframe.M15)

    def __init__(self, engine: Engine, minutes: int = 20) -> None:
        self.engine = engine
        self.tape = [
            Trade(SYMBOL, n + 1, MIDNIGHT + n * MINUTE + 5, Decimal(60_000 + n), Decimal(2), Side.BUY)
            for n in range(minutes)
        ]
        self.exchange = FakeExchange(self.tape, MIDNIGHT + minutes * MINUTE + 1, 0.0)
        self.stream = SymbolStream(SYMBOL, self.FRAMES, MIDNIGHT, Continuity(0))
        self.events: list[tuple[str, str, str]] = []
        self.written: list[Candle] = []
        self.loses_what_it_is_given = False
        self.clock = At(MIDNIGHT + minutes * MINUTE)
        self.desk = self.reconciler()

    def reconciler(self) -> Reconciler:
        return Reconciler(self.exchange, self.engine, self.clock, self.FRAMES, self.put_right, self.tell)

    def tell(self, level: str, event: str, message: str) -> None:
        self.events.append((level, event, message))

    def told(self) -> list[tuple[str, str]]:
        return [event[:2] for event in self.events]

    def put_right(self, trades: list[Trade], candles: list[Candle]) -> None:
        if self.loses_what_it_is_given:
            return
        self.written += candles
        with self.engine.begin() as connection:
            copy_trades(connection, trades)
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
        self.put_right([], self.stream.advance(self.clock.now_ms(), 0, 0.0)[0])
        self.written.clear()

    def forget(self) -> None:
        """As after a restart: the builder knows no minute, the database does."""
        builder = CandleBuilder(SYMBOL, self.FRAMES, self.stream.builder.closed_through_ms)
        self.stream.builder = builder

    async def compare(self, kind: str = "recent") -> None:
        end = MIDNIGHT + DAY if kind == "weekly" else self.clock.now_ms()
        if kind == "recent":
            await self.desk._recent(self.stream)
        else:
            await self.desk._from_last(self.stream, kind, end)
        self.put_right([], self.stream.advance(self.clock.now_ms(), 0, 0.0)[0])

    def revise(self, close_ms: int, volume: str, timeframe: Timeframe = Timeframe.M1) -> None:
        """The exchange's row says another volume from now on."""
        self.exchange.other_volumes[SYMBOL, timeframe, close_ms] = Decimal(volume)

    def differences(self) -> list[tuple]:
        query = text(
            "SELECT timeframe, (extract(epoch FROM timestamp) * 1000)::bigint, explanation, our_volume, "
            "their_volume, resolution FROM candle_differences ORDER BY 2, 1"
        )
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def detail(self) -> str:
        with self.engine.connect() as connection:
            return str(connection.execute(text("SELECT detail FROM candle_differences")).scalar())

    def stored(self, timeframe: Timeframe, close_ms: int) -> Candle:
        with self.engine.connect() as connection:
            (candle,) = exact_candles(connection, SYMBOL, timeframe, close_ms - 1, close_ms)
        return candle

    def delete(self, timeframe: Timeframe, close_ms: int) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "DELETE FROM market_data WHERE timeframe = :timeframe AND timestamp = to_timestamp(:at)"
                ),
                {"timeframe": timeframe.value, "at": close_ms / 1000},
            )


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


async def test_it_catches_up_over_days_in_which_nothing_was_collected(desk):
    desk.collect()
    long_ago = msgspec.structs.replace(desk.tape[0], trade_id=0, timestamp_ms=MIDNIGHT - 4 * DAY)
    desk.exchange.tape.insert(0, long_ago)
    with desk.engine.begin() as connection:
        record_reconciled(connection, SYMBOL, "recent", MIDNIGHT - 3 * DAY, 0, 0)
    await desk.compare()
    assert desk.desk.health()["compared"] == 18
    assert desk.desk.health()["through_ms"] == {SYMBOL: MIDNIGHT + 18 * MINUTE}
    assert desk.differences() == []


async def test_trades_we_lack_are_fetched_and_the_candles_made_of_them_are_issued_again(desk):
    at = MIDNIGHT + 8 * MINUTE
    desk.collect(lost=frozenset({8}))
    assert desk.stored(Timeframe.M1, at).source == "synthetic"
    before = desk.stored(Timeframe.M15, MIDNIGHT + 15 * MINUTE)
    await desk.compare()
    assert desk.differences() == [("1m", at, "missing_trades", 0, 2, None)]
    assert desk.detail() == ("the exchange has 2 more volume: we lacked 1 trades of the ids 8 to 8")
    assert desk.told() == [("warning", "candles_differ")]
    minute = desk.stored(Timeframe.M1, at)
    assert (minute.volume, minute.revision, minute.source, minute.trades_count) == (2, 1, "trades", 1)
    assert desk.stored(Timeframe.M5, MIDNIGHT + 10 * MINUTE).volume == 10
    after = desk.stored(Timeframe.M15, MIDNIGHT + 15 * MINUTE)
    assert (before.volume, after.volume, after.revision, after.trades_count) == (28, 30, 1, 15)
    with desk.engine.connect() as connection:
        assert missing_ids(connection, SYMBOL, 1, 20) == []
    await desk.compare()
    assert desk.differences()[0][-1] == "completed"
    await desk.desk._daily(desk.stream, desk.clock.now_ms())
    with desk.engine.connect() as connection:
        gaps = connection.execute(text("SELECT state, closed_by FROM data_gaps")).all()
    assert gaps == [("refilled", "reconciliation")]


async def test_where_trades_are_not_to_be_had_the_exchanges_candle_is_taken_over(desk):
    at = MIDNIGHT + 8 * MINUTE
    desk.collect(lost=frozenset({8}))
    desk.exchange.history_is_away = True
    await desk.compare()
    assert desk.differences() == [("1m", at, "known_gap", 0, 2, None)]
    minute = desk.stored(Timeframe.M1, at)
    assert (minute.volume, minute.revision, minute.source) == (2, 1, "exchange")
    corrected = desk.stored(Timeframe.M5, MIDNIGHT + 10 * MINUTE)
    assert (corrected.volume, corrected.revision) == (10, 1)
    await desk.compare()
    assert desk.differences()[0][-1] == "taken_over"


async def test_what_is_lost_on_the_way_to_the_store_is_put_right_by_the_next_comparison(desk):
    at = MIDNIGHT + 8 * MINUTE
    desk.collect(lost=frozenset({8}))
    desk.loses_what_it_is_given = True
    await desk.compare()
    assert desk.stored(Timeframe.M1, at).volume == 0
    desk.loses_what_it_is_given = False
    desk.forget()
    desk.desk = desk.reconciler()
    await desk.compare()
    await desk.compare()
    assert desk.stored(Timeframe.M1, at).volume == 2
    assert desk.stored(Timeframe.M15, MIDNIGHT + 15 * MINUTE).volume == 30
    assert desk.differences() == [("1m", at, "missing_trades", 0, 2, "completed")]


async def test_a_row_that_is_not_that_of_the_exchanges_own_trades_does_not_replace_ours(desk):
    at = MIDNIGHT + 3 * MINUTE
    desk.collect()
    desk.revise(at, "7")
    await desk.compare()
    assert desk.differences() == [("1m", at, "exchange_row", 2, 7, "ours_stands")]
    assert desk.told() == [("warning", "candles_differ")]
    await desk.compare("daily")
    assert (len(desk.events), desk.stored(Timeframe.M1, at).revision, desk.written) == (1, 0, [])


async def test_a_difference_that_nothing_explains_is_an_error_once_until_it_is_gone(desk):
    at = MIDNIGHT + 3 * MINUTE
    desk.collect()
    desk.revise(at, "7")
    desk.exchange.history_is_away = True
    await desk.compare()
    assert desk.differences() == [("1m", at, "unexplained", 2, 7, None)]
    assert desk.told() == [("error", "candles_differ")]
    assert desk.stored(Timeframe.M1, at).volume == 2
    await desk.compare()
    await desk.compare("daily")
    assert len(desk.events) == 1
    desk.exchange.other_volumes.clear()
    await desk.desk._from_last(desk.stream, "weekly", MIDNIGHT + 20 * MINUTE)
    assert desk.differences() == [("1m", at, "unexplained", 2, 7, "equal_again")]


@pytest.mark.parametrize("kind", ["daily", "weekly"])
async def test_a_later_revision_of_the_exchange_is_recorded_and_our_complete_trades_stand(desk, kind):
    at = MIDNIGHT + 3 * MINUTE
    desk.collect()
    await desk.compare()
    desk.revise(at, "2.5")
    await desk.compare(kind)
    assert desk.differences() == [("1m", at, "exchange_revision", 2, Decimal("2.5"), "ours_stands")]
    assert desk.detail().startswith("the exchange has 0.5 more volume: ")
    assert desk.told() == [("info", "candles_differ")]
    assert (desk.stored(Timeframe.M1, at).volume, desk.stored(Timeframe.M1, at).revision) == (2, 0)
    desk.revise(at, "2.75")
    with desk.engine.begin() as connection:
        connection.execute(text("DELETE FROM reconciliations WHERE kind <> 'recent'"))
    await desk.compare(kind)
    assert desk.differences()[0][4] == Decimal("2.75")


async def test_a_revision_of_a_candle_that_is_the_exchanges_is_taken_over_with_what_is_made_of_it(desk):
    at = MIDNIGHT + 3 * MINUTE
    desk.collect(lost=frozenset({3}))
    desk.exchange.history_is_away = True
    await desk.compare()
    assert desk.stored(Timeframe.M1, at).source == "exchange"
    desk.revise(at, "3")
    await desk.compare("daily")
    stored = desk.stored(Timeframe.M1, at)
    assert (stored.volume, stored.revision, stored.source) == (3, 2, "exchange")
    assert desk.stored(Timeframe.M5, MIDNIGHT + 5 * MINUTE).volume == 11
    assert desk.differences()[0][2] == "exchange_revision"


async def test_trades_from_before_the_first_one_here_are_not_brought_in(desk):
    at = MIDNIGHT + 3 * MINUTE
    desk.collect()
    foreign = msgspec.structs.replace(desk.stored(Timeframe.M1, at), source="exchange", volume=Decimal(1))
    desk.delete(Timeframe.M1, at)
    desk.put_right([], [foreign])
    with desk.engine.begin() as connection:
        connection.execute(text("DELETE FROM raw_trades WHERE trade_id <= 5"))
    await desk.compare("daily")
    assert desk.stored(Timeframe.M1, at).volume == 2
    with desk.engine.connect() as connection:
        assert missing_ids(connection, SYMBOL, 1, 6) == [(1, 5)]


async def test_a_minute_no_longer_in_memory_is_put_right_with_the_longer_candles(desk):
    at = MIDNIGHT + 3 * MINUTE
    desk.collect(lost=frozenset({3}))
    desk.forget()
    await desk.compare()
    assert desk.stored(Timeframe.M1, at).volume == 2
    assert {candle.timeframe for candle in desk.written} == set(desk.FRAMES)
    for timeframe, volume in ((Timeframe.M5, 10), (Timeframe.M15, 30)):
        longer = desk.stored(timeframe, MIDNIGHT + timeframe.ms)
        assert (longer.volume, longer.revision) == (volume, 1)


async def test_trades_that_come_for_a_minute_that_is_no_longer_known_revise_it_and_all_above(desk):
    at = MIDNIGHT + 3 * MINUTE
    desk.collect(lost=frozenset({3}))
    desk.forget()
    late = desk.tape[2]
    assert desk.stream.take([late]) == [late]
    desk.put_right([late], [])
    desk.stream.builder.late_minutes.add(at)
    with desk.engine.begin() as connection:
        record_reconciled(connection, SYMBOL, "recent", desk.clock.now_ms(), 0, 0)
    await desk.compare()
    assert (desk.stored(Timeframe.M1, at).volume, desk.stored(Timeframe.M1, at).revision) == (2, 1)
    assert desk.stored(Timeframe.M15, MIDNIGHT + 15 * MINUTE).volume == 30
    assert desk.stream.builder.late_minutes == set()


async def test_a_provisional_minute_that_is_the_exchanges_all_the_same_is_final(desk):
    at = MIDNIGHT + 3 * MINUTE
    desk.collect()
    provisional = msgspec.structs.replace(desk.stored(Timeframe.M1, at), provisional=True)
    desk.put_right([], [provisional])
    assert desk.stored(Timeframe.M1, at).provisional
    await desk.compare()
    assert not desk.stored(Timeframe.M1, at).provisional
    assert desk.differences() == []


async def test_a_candle_that_only_the_exchange_has_is_stored_the_next_day(desk):
    at = MIDNIGHT + 3 * MINUTE
    desk.collect()
    desk.delete(Timeframe.M1, at)
    await desk.compare()
    assert desk.differences() == []
    await desk.compare("daily")
    assert desk.stored(Timeframe.M1, at).volume == 2
    assert desk.differences() == [("1m", at, "missing_candle", None, 2, None)]
    await desk.compare()
    assert desk.differences()[0][-1] == "completed"


async def test_longer_candles_are_compared_and_made_anew_where_their_minutes_changed(desk):
    at = MIDNIGHT + 5 * MINUTE
    desk.collect()
    await desk.compare("longer")
    assert (desk.desk.health()["compared_longer"], desk.differences()) == (5, [])
    stale = msgspec.structs.replace(desk.stored(Timeframe.M5, at), volume=Decimal(4), trades_count=2)
    desk.put_right([], [stale])
    with desk.engine.begin() as connection:
        connection.execute(text("DELETE FROM reconciliations"))
    await desk.compare("longer")
    assert desk.stored(Timeframe.M5, at).volume == 10
    assert desk.differences() == [("5m", at, "stale", 4, 10, None)]


async def test_a_longer_candle_that_all_its_minutes_make_stands_against_the_exchanges(desk):
    at = MIDNIGHT + 15 * MINUTE
    desk.collect()
    desk.revise(at, "31", Timeframe.M15)
    await desk.compare("longer")
    assert desk.differences() == [("15m", at, "unexplained", 30, 31, None)]
    assert desk.told() == [("error", "candles_differ")]
    assert desk.stored(Timeframe.M15, at).volume == 30
    desk.exchange.other_volumes.clear()
    with desk.engine.begin() as connection:
        connection.execute(text("DELETE FROM reconciliations"))
    await desk.compare("longer")
    assert desk.differences()[0][-1] == "equal_again"


async def test_a_longer_candle_is_explained_by_the_minute_that_differs_in_it(desk):
    desk.collect()
    desk.revise(MIDNIGHT + 3 * MINUTE, "7")
    desk.revise(MIDNIGHT + 5 * MINUTE, "15", Timeframe.M5)
    await desk.compare()
    await desk.compare("longer")
    assert desk.differences()[1][:3] == ("5m", MIDNIGHT + 5 * MINUTE, "exchange_row")
    assert {row[-1] for row in desk.differences()} == {"ours_stands"}


async def test_of_a_symbol_that_differs_everywhere_people_are_told_once_and_again_after_it_agreed(desk):
    desk.collect()
    for n in range(1, 21):
        desk.revise(MIDNIGHT + n * MINUTE, "9")
    for through in (6, 12, 18):
        await desk.desk._from_last(desk.stream, "recent", MIDNIGHT + through * MINUTE)
    assert desk.told() == [("warning", "candles_differ")]
    desk.exchange.other_volumes.clear()
    await desk.desk._from_last(desk.stream, "recent", MIDNIGHT + 19 * MINUTE)
    assert desk.told()[-1] == ("info", "candles_agree")
    assert len(desk.differences()) == 18


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


def minute(volume: int = 1, **changes) -> Candle:
    price = Decimal(1)
    made = Candle(SYMBOL, Timeframe.M1, MIDNIGHT, price, price, price, price, Decimal(volume))
    return msgspec.structs.replace(made, **changes)


@pytest.mark.parametrize(
    ("ours", "known", "trades_make", "explanation", "stored"),
    [
        (minute(), Known(), None, "unexplained", None),
        (minute(), Known(equal_before=True), None, "exchange_revision", None),
        (minute(), Known(in_gap=True), None, "known_gap", 2),
        (minute(provisional=True), Known(), None, "known_gap", 2),
        (minute(source="exchange"), Known(), None, "exchange_revision", 2),
        (minute(), Known(), 1, "exchange_row", None),
        (minute(), Known(equal_before=True), 1, "exchange_revision", None),
        (minute(), Known(), 2, "exchange_revision", 2),
        (minute(), Known(in_gap=True), 2, "missing_trades", 2),
        (minute(), Known(), 3, "unexplained", None),
    ],
)
def test_the_explanation_and_who_stands_follow_from_what_is_known(
    ours, known, trades_make, explanation, stored
):
    evidence = None if trades_make is None else Evidence(minute(trades_make))
    judgement = judge(ours, minute(2, source="exchange"), known, evidence)
    assert judgement.difference.explanation == explanation
    assert (judgement.candle and judgement.candle.volume) == stored
