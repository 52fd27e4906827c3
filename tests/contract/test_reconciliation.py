"""Our candles against the exchange's own rows: when they are compared, and what is told."""

import asyncio
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import text

from core.timeframes import Timeframe
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.reconciliation import record_reconciled
from tests.reconciliation import DAY, MIDNIGHT, MINUTE, SYMBOL, Desk

pytestmark = pytest.mark.servers


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
