"""Days of raw_trades: there before a trade needs one, whoever comes first and however late."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import text

from core.trades import Side, Trade
from live.collector.collector import PARTITIONS_EVERY_S, partitions_ahead_ms
from pipelines.warehouse.database import engine
from pipelines.warehouse.trade_days import (
    DAY_MS,
    drop_empty_day,
    ensure_partitions,
    in_chunks,
    made_days,
    stored_days,
)
from pipelines.warehouse.trades import copy_trades

pytestmark = pytest.mark.servers

MIDNIGHT = 1_763_683_200_000


def made(database_url: str) -> list[date]:
    with engine(database_url).connect() as connection:
        return made_days(connection)


def days(first_ms: int, count: int) -> list[date]:
    return [datetime.fromtimestamp(first_ms // 1000 + n * 86_400, UTC).date() for n in range(count)]


def trade(n: int, at_ms: int) -> Trade:
    return Trade("BTC-USDT", n, at_ms, Decimal(1), Decimal(1), Side.BUY)


@pytest.mark.parametrize(
    ("now_ms", "first_ms"),
    [(MIDNIGHT - 1, MIDNIGHT - DAY_MS), (MIDNIGHT, MIDNIGHT), (MIDNIGHT + DAY_MS - 1, MIDNIGHT)],
    ids=["last millisecond", "midnight", "last millisecond of the next"],
)
def test_today_and_the_two_days_after_are_there_at_every_millisecond(database_url, now_ms, first_ms):
    """Chunks come with their rows: none is made ahead, and none is missed."""
    with engine(database_url).begin() as connection:
        ensure_partitions(connection, now_ms, now_ms + partitions_ahead_ms(1.0))
        ahead = [] if in_chunks(connection) else days(first_ms, 3)
        assert made_days(connection) == ahead
        copy_trades(connection, [trade(n, first_ms + n * DAY_MS) for n in range(3)])
    assert made(database_url) == days(first_ms, 3)


def test_trades_on_both_sides_of_midnight_are_each_in_their_day(database_url):
    with engine(database_url).begin() as connection:
        copy_trades(connection, [trade(1, MIDNIGHT - 1), trade(2, MIDNIGHT), trade(3, MIDNIGHT + 1)])
        query = text("SELECT tableoid, array_agg(trade_id ORDER BY trade_id) FROM raw_trades GROUP BY 1")
        assert sorted(ids for _, ids in connection.execute(query)) == [[1], [2, 3]]
        assert made_days(connection) == stored_days(connection, "BTC-USDT") == days(MIDNIGHT - DAY_MS, 2)


def test_after_days_without_a_daemon_the_days_between_are_made_for_what_is_refilled(database_url):
    """Partitions exist on both sides of the hole; trades of a hole of five days come in one batch."""
    with engine(database_url).begin() as connection:
        ensure_partitions(connection, MIDNIGHT, MIDNIGHT)
        ensure_partitions(connection, MIDNIGHT + 6 * DAY_MS, MIDNIGHT + 8 * DAY_MS)
        copy_trades(connection, [trade(n, MIDNIGHT + n * DAY_MS) for n in range(7)])
        assert stored_days(connection, "BTC-USDT") == days(MIDNIGHT, 7)
    assert made(database_url)[:7] == days(MIDNIGHT, 7)


def test_a_trade_of_long_ago_beside_one_of_now_makes_no_partition_for_the_days_between(database_url):
    with engine(database_url).begin() as connection:
        copy_trades(connection, [trade(1, 0), trade(2, MIDNIGHT)])
    assert made(database_url) == [*days(0, 1), *days(MIDNIGHT, 1)]


def test_many_at_once_make_each_day_once(database_url):
    """Whoever writes into a day that is not there yet, and whoever makes days ahead meanwhile."""

    def write(writer: int) -> None:
        with engine(database_url).begin() as connection:
            first_ms = MIDNIGHT + writer % 4 * DAY_MS
            ensure_partitions(connection, first_ms, first_ms + 3 * DAY_MS)
            copy_trades(connection, [trade(10 * writer + n, first_ms + n * DAY_MS) for n in range(4)])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(16)))
    assert made(database_url) == days(MIDNIGHT, 7)
    with engine(database_url).connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM raw_trades")) == 64


def test_only_an_empty_day_is_dropped_and_not_while_somebody_writes(database_url):
    """A day with a row stays; an empty one stays for as long as a writer holds the table."""
    (day,) = days(MIDNIGHT, 1)
    own = engine(database_url)
    with own.begin() as connection:
        copy_trades(connection, [trade(1, MIDNIGHT), trade(2, MIDNIGHT + DAY_MS)])
        assert not drop_empty_day(connection, day)
        connection.execute(text("DELETE FROM raw_trades WHERE trade_id = 1"))
    with own.connect() as writer:
        copy_trades(writer, [trade(3, MIDNIGHT + DAY_MS)])
        with own.begin() as connection:
            assert not drop_empty_day(connection, day)
        assert made(database_url) == days(MIDNIGHT, 2)
        writer.commit()
    with own.begin() as connection:
        assert drop_empty_day(connection, day)
        assert drop_empty_day(connection, day)
    assert made(database_url) == days(MIDNIGHT + DAY_MS, 1)


@pytest.mark.parametrize("rate", [0.5, 1.0, 60.0, 3_600.0, 100_000.0])
def test_a_clock_however_fast_does_not_outrun_its_partitions(rate):
    assert partitions_ahead_ms(rate) >= max(2 * DAY_MS, 2 * PARTITIONS_EVERY_S * 1000 * rate)
