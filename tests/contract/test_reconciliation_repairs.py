"""What a comparison with the exchange's rows puts right, minutes and the longer candles made of them."""

from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import text

from core.timeframes import Timeframe
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.gaps import missing_ids
from pipelines.warehouse.reconciliation import record_reconciled
from tests.reconciliation import MIDNIGHT, MINUTE, SYMBOL, Desk

pytestmark = pytest.mark.servers


@pytest.fixture
def desk(database_url) -> Desk:
    return Desk(engine_of(database_url))


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


@pytest.mark.parametrize("unkept", [frozenset(), frozenset({SYMBOL})], ids=["kept", "unkept"])
async def test_trades_that_were_lost_are_told_from_those_that_the_exchange_changed(database_url, unkept):
    """Also of a symbol whose trades are not stored, and with a hole elsewhere: the counted ones tell."""
    desk = Desk(engine_of(database_url), unkept=unkept)
    desk.collect(lost=frozenset({8}))
    tape = desk.exchange.tape
    tape[2] = msgspec.structs.replace(tape[2], size=Decimal(3))
    await desk.compare()
    assert [row[1:3] for row in desk.differences()] == [
        (MIDNIGHT + 3 * MINUTE, "exchange_revision"),
        (MIDNIGHT + 8 * MINUTE, "missing_trades"),
    ]
    assert [desk.stored(Timeframe.M1, MIDNIGHT + n * MINUTE).volume for n in (3, 8)] == [3, 2]
    with desk.engine.connect() as connection:
        stored = connection.execute(text("SELECT count(*) FROM raw_trades")).scalar()
    assert stored == (0 if unkept else len(tape))


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


def _take_over(desk: Desk, close_ms: int, volume: int) -> None:
    """The exchange's row in place of a stored minute and of what is made of it."""
    query = text(
        "UPDATE market_data SET source = 'exchange', trades_count = 0, volume = volume + :more "
        "WHERE timestamp >= to_timestamp(:at / 1000.0) AND (timeframe <> '1m' "
        "OR timestamp = to_timestamp(:at / 1000.0))"
    )
    with desk.engine.begin() as connection:
        connection.execute(query, {"at": close_ms, "more": volume - 2})
    desk.forget()


async def test_a_minute_of_the_exchange_is_ours_again_when_its_trades_are_here(desk):
    """The numbers are equal, so that it is no difference and no revision, but we know how many trades it had;
    so do the longer candles."""
    at = MIDNIGHT + 8 * MINUTE
    desk.collect()
    _take_over(desk, at, 2)
    await desk.compare("daily")
    assert desk.differences() == []
    minute = desk.stored(Timeframe.M1, at)
    assert (minute.volume, minute.source, minute.trades_count, minute.revision) == (2, "trades", 1, 0)
    quarter = desk.stored(Timeframe.M15, MIDNIGHT + 15 * MINUTE)
    assert (quarter.source, quarter.trades_count, quarter.revision) == ("trades", 15, 0)


async def test_a_row_that_the_exchange_revised_gives_way_to_the_candle_of_our_trades(desk):
    """Its first row was taken, its last one is what our trades make."""
    at = MIDNIGHT + 8 * MINUTE
    desk.collect()
    _take_over(desk, at, 9)
    await desk.compare("daily")
    assert [row[1:5] for row in desk.differences()] == [(at, "exchange_revision", 9, 2)]
    minute = desk.stored(Timeframe.M1, at)
    assert (minute.volume, minute.source, minute.trades_count) == (2, "trades", 1)
    assert desk.stored(Timeframe.M15, MIDNIGHT + 15 * MINUTE).trades_count == 15
