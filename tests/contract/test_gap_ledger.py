"""The ledger of missing trades: its states, and what a start makes of rows that were left open."""

from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from core.continuity import Continuity, Gap
from core.trades import Side, Trade
from live.collector.adopt import abandoned, adopt_ledger
from pipelines.warehouse import gaps
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.gaps import FROM_STATES, record_gap
from pipelines.warehouse.trades import copy_trades

pytestmark = pytest.mark.servers

SYMBOL = "BTC-USDT"
NOON = 1_763_726_400_000


def trade(trade_id: int, count: int = 1) -> Trade:
    return Trade(SYMBOL, trade_id, NOON + trade_id, Decimal(1), Decimal(1), Side.BUY, count)


@pytest.fixture
def engine(database_url) -> Engine:
    return engine_of(database_url)


def rows(engine: Engine) -> list[tuple]:
    query = text("SELECT first_id, last_id, state, detected_by, closed_by FROM data_gaps ORDER BY 1, 2")
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def record(engine: Engine, first_id: int, last_id: int, *states: str, at_ms: int = NOON, by="feed"):
    with engine.begin() as connection:
        for n, state in enumerate(states):
            record_gap(connection, SYMBOL, first_id, last_id, state, at_ms + n, by)


def store(engine: Engine, *trades: Trade):
    with engine.begin() as connection:
        copy_trades(connection, trades)


def test_a_row_says_who_found_the_hole_who_closed_it_when_and_why(engine):
    with engine.begin() as connection:
        record_gap(connection, SYMBOL, 5, 9, "open", NOON, "feed")
        record_gap(connection, SYMBOL, 5, 9, "refilling", NOON + 1_000, "refill")
        record_gap(connection, SYMBOL, 5, 9, "refilled", NOON + 3_000, "refill", "by id")
        row = connection.execute(text("SELECT * FROM data_gaps")).one()
    assert (row.state, row.detected_by, row.closed_by, row.note) == ("refilled", "feed", "refill", "by id")
    assert (row.refilling_at - row.detected_at).total_seconds() == 1
    assert (row.closed_at - row.detected_at).total_seconds() == 3


@pytest.mark.parametrize("before", FROM_STATES)
@pytest.mark.parametrize("after", FROM_STATES)
def test_a_state_follows_only_those_it_may_follow(engine, before, after):
    record(engine, 5, 9, before)
    record(engine, 5, 9, after)
    allowed = before in FROM_STATES[after]
    assert rows(engine)[0][2] == (after if allowed else before)


def test_a_repeated_batch_opens_nothing_and_a_hole_found_anew_opens_again(engine):
    record(engine, 5, 9, "open", "refilling", "refilled")
    record(engine, 5, 9, "open", "refilling")
    assert rows(engine)[0][2:] == ("refilled", "feed", "feed")
    record(engine, 5, 9, "open", at_ms=NOON + 60_000)
    assert rows(engine)[0][2:] == ("open", "feed", None)


def test_no_other_state_can_be_stored(engine):
    with pytest.raises(Exception, match="data_gaps_state"), engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO data_gaps (exchange, symbol, first_id, last_id, state, detected_at) "
                "VALUES ('okx', 'X', 1, 2, 'filled', now())"
            )
        )


def test_missing_ids_are_those_that_no_stored_aggregate_covers(engine):
    store(engine, trade(4), trade(8, count=3), trade(12), trade(20, count=4))
    with engine.connect() as connection:
        assert gaps.missing_ids(connection, SYMBOL, 4, 18) == [(5, 5), (9, 11), (13, 16)]
        assert gaps.missing_ids(connection, SYMBOL, 6, 8) == []
        assert gaps.missing_ids(connection, SYMBOL, 30, 31) == [(30, 31)]
        assert gaps.neighbour_times(connection, SYMBOL, 9, 11) == (NOON + 8, NOON + 12)


def test_a_start_closes_what_was_stored_and_takes_over_the_rest(engine):
    store(engine, trade(1), trade(2), trade(3), trade(7), trade(30), trade(40))
    record(engine, 2, 3, "open", "refilling")  # killed between its trades and its line
    record(engine, 4, 6, "open", "refilling")  # killed before any came; known from the stored trades
    record(engine, 31, 35, "open")  # a part of a hole that is known
    record(engine, 41, 44, "open")  # the trade behind it was never stored
    continuity = Continuity(7)
    continuity.take([trade(30), trade(40)])
    assert adopt_ledger(engine, SYMBOL, continuity, 40, [], NOON + 99) == [(4, 6), (31, 35), (41, 44)]
    assert rows(engine)[0] == (2, 3, "refilled", "feed", "start")
    assert continuity.gaps[0] == Gap(4, 6, NOON + 3, NOON + 7)
    assert [(gap.first_id, gap.last_id) for gap in continuity.gaps] == [(4, 6), (8, 29), (31, 39)]


def test_rows_in_a_hole_that_is_too_large_are_closed_with_it(engine):
    store(engine, trade(10))
    record(engine, 5, 6, "open")
    record(engine, 12, 15, "open", "refilling")
    continuity = Continuity(90_000)
    assert adopt_ledger(engine, SYMBOL, continuity, 10, [(11, 89_999)], NOON) == [(5, 6)]
    assert rows(engine)[1] == (12, 15, "unfillable", "feed", "start")
    assert [(gap.first_id, gap.last_id) for gap in continuity.gaps] == [(5, 6)]


def test_a_symbol_of_which_nothing_is_stored_leaves_no_row_open(engine):
    record(engine, 5, 6, "open")
    assert adopt_ledger(engine, SYMBOL, Continuity(), None, [], NOON) == []
    assert rows(engine)[0][2:] == ("unfillable", "feed", "start")


def test_what_was_found_not_to_exist_is_not_asked_for_at_every_start(engine):
    store(engine, trade(4), trade(7))
    record(engine, 5, 6, "open", "unfillable", by="refill")
    continuity = Continuity(4)
    continuity.take([trade(7)])
    assert adopt_ledger(engine, SYMBOL, continuity, 7, [], NOON) == []
    assert continuity.gaps == []


def test_open_rows_of_symbols_that_nobody_collects_are_known(engine):
    record(engine, 5, 6, "open")
    assert abandoned(engine, ["ETH-USDT"]) == {SYMBOL: 1}
    assert abandoned(engine, [SYMBOL]) == {}
