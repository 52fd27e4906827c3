"""Daily partitions of raw_trades: there before a trade needs one, whoever comes first and however late."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from sqlalchemy import text

from core.trades import Side, Trade
from live.collector.collector import PARTITIONS_EVERY_S, partitions_ahead_ms
from pipelines.warehouse.database import engine
from pipelines.warehouse.trades import DAY_MS, copy_trades, ensure_partitions, partition_name

pytestmark = pytest.mark.servers

MIDNIGHT = 1_763_683_200_000
NAMES = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' AND relname LIKE 'raw_trades_%'"


def names(database_url: str) -> list[str]:
    with engine(database_url).connect() as connection:
        return sorted(connection.execute(text(NAMES)).scalars())


def days(first_ms: int, count: int) -> list[str]:
    return [partition_name(first_ms + n * DAY_MS) for n in range(count)]


def trade(n: int, at_ms: int) -> Trade:
    return Trade("BTC-USDT", n, at_ms, Decimal(1), Decimal(1), Side.BUY)


@pytest.mark.parametrize(
    ("now_ms", "first_ms"),
    [(MIDNIGHT - 1, MIDNIGHT - DAY_MS), (MIDNIGHT, MIDNIGHT), (MIDNIGHT + DAY_MS - 1, MIDNIGHT)],
    ids=["last millisecond", "midnight", "last millisecond of the next"],
)
def test_today_and_the_two_days_after_are_there_at_every_millisecond(database_url, now_ms, first_ms):
    with engine(database_url).begin() as connection:
        ensure_partitions(connection, now_ms, now_ms + partitions_ahead_ms(1.0))
    assert names(database_url) == days(first_ms, 3)


def test_trades_on_both_sides_of_midnight_are_each_in_their_day(database_url):
    with engine(database_url).begin() as connection:
        copy_trades(connection, [trade(1, MIDNIGHT - 1), trade(2, MIDNIGHT), trade(3, MIDNIGHT + 1)])
        query = text("SELECT tableoid::regclass::text, trade_id FROM raw_trades ORDER BY trade_id")
        found = [tuple(row) for row in connection.execute(query)]
    before, after = partition_name(MIDNIGHT - 1), partition_name(MIDNIGHT)
    assert found == [(before, 1), (after, 2), (after, 3)]


def test_after_days_without_a_daemon_the_days_between_are_made_for_what_is_refilled(database_url):
    """Partitions exist on both sides of the hole; trades of a hole of five days come in one batch."""
    with engine(database_url).begin() as connection:
        ensure_partitions(connection, MIDNIGHT, MIDNIGHT)
        ensure_partitions(connection, MIDNIGHT + 6 * DAY_MS, MIDNIGHT + 8 * DAY_MS)
        copy_trades(connection, [trade(n, MIDNIGHT + n * DAY_MS) for n in range(7)])
    assert names(database_url) == days(MIDNIGHT, 9)


def test_a_trade_of_long_ago_beside_one_of_now_makes_no_partition_for_the_days_between(database_url):
    with engine(database_url).begin() as connection:
        copy_trades(connection, [trade(1, 0), trade(2, MIDNIGHT)])
    assert names(database_url) == [partition_name(0), partition_name(MIDNIGHT)]


def test_many_at_once_make_each_partition_once(database_url):
    def make(shift: int) -> None:
        with engine(database_url).begin() as connection:
            ensure_partitions(connection, MIDNIGHT + shift * DAY_MS, MIDNIGHT + (shift + 3) * DAY_MS)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(make, [0, 1, 2, 3] * 4))
    assert names(database_url) == days(MIDNIGHT, 7)


@pytest.mark.parametrize("rate", [0.5, 1.0, 60.0, 3_600.0, 100_000.0])
def test_a_clock_however_fast_does_not_outrun_its_partitions(rate):
    assert partitions_ahead_ms(rate) >= max(2 * DAY_MS, 2 * PARTITIONS_EVERY_S * 1000 * rate)
