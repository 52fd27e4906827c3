"""The warehouse on a real PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import polars as pl
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core.candles import Candle
from core.errors import BadInput, Unavailable
from core.instruments import Instrument
from core.timeframes import Timeframe
from core.trades import Side, Trade
from dashboards.queries.bots import overview
from pipelines.warehouse import candles, controls, database, health, instruments, resume, trade_days, trades
from pipelines.warehouse.bot_lease import Lease
from pipelines.warehouse.lock import DaemonLock
from pipelines.warehouse.tables import metadata
from tests.waiting import until

pytestmark = pytest.mark.servers

NOON = 1_763_726_400_000
DAY_MS = 86_400_000


def candle(minute: int = 1, **changes) -> Candle:
    made = Candle(
        "BTC-USDT",
        Timeframe.M1,
        NOON + minute * 60_000,
        Decimal("64000.1"),
        Decimal("64001.2"),
        Decimal("63999.9"),
        Decimal("64000.000000000000000001"),
        Decimal("1.00000001"),
        trades_count=5,
    )
    return msgspec.structs.replace(made, **changes)


def trade(trade_id: int, at_ms: int = NOON, **changes) -> Trade:
    made = Trade("BTC-USDT", trade_id, at_ms, Decimal("1.5"), Decimal("0.1"), Side.SELL, 2)
    return msgspec.structs.replace(made, **changes)


def test_migrations_build_exactly_the_tables_of_the_code(database_url):
    with database.engine(database_url).connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_server_default": True, "compare_type": True}
        )
        assert compare_metadata(context, metadata) == []


def test_a_migrated_database_is_accepted_and_migrating_again_changes_nothing(database_url):
    database.migrate(database_url)
    database.check_schema(database_url)


def test_a_schema_of_another_version_is_refused_with_the_remedy(database_url):
    with database.engine(database_url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(BadInput, match="tcp db migrate"):
        database.check_schema(database_url)
    with database.engine(database_url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for action in (database.check_schema, database.migrate):
        with pytest.raises(BadInput, match="newer version"):
            action(database_url)


def test_a_server_that_does_not_answer_is_named_without_its_password(unused_port):
    url = f"postgresql+psycopg://tcp:secret@127.0.0.1:{unused_port}/tcp"
    with pytest.raises(Unavailable, match="does not answer") as caught:
        database.check_schema(url)
    assert "secret" not in str(caught.value)


def test_candles_keep_every_digit_and_come_back_as_a_frame_by_close_time(database_url):
    engine = database.engine(database_url)
    written = [candle(minute) for minute in (3, 1, 2)]
    with engine.begin() as connection:
        assert candles.upsert_candles(connection, written) == {
            ("BTC-USDT", Timeframe.M1, c.close_ms): 0 for c in written
        }
        assert resume.exact_candles(connection, "BTC-USDT", Timeframe.M1, NOON, NOON + DAY_MS) == [
            candle(1),
            candle(2),
            candle(3),
        ]
    frame = candles.read_candles(engine, "BTC-USDT", "1m")
    assert frame["timestamp"].dtype == pl.Datetime("us", "UTC")
    assert frame["timestamp"].to_list() == [datetime(2025, 11, 21, 12, m, tzinfo=UTC) for m in (1, 2, 3)]
    assert frame["close"].to_list() == [64000.0] * 3
    newest = candles.read_candles(engine, "BTC-USDT", "1m", end_ms=NOON + 120_000, limit=1)
    assert newest["timestamp"].to_list() == [datetime(2025, 11, 21, 12, 2, tzinfo=UTC)]
    assert candles.read_candles(engine, "ETH-USDT", "1m").schema == frame.schema


def test_a_candle_with_other_numbers_is_a_revision_and_a_repeat_is_nothing(database_url):
    """A revision is noted with its time, by which models count the candle's day again."""
    key = ("BTC-USDT", Timeframe.M1, candle().close_ms)
    changed = text("SELECT changed_at = now() FROM market_data")
    with database.engine(database_url).begin() as connection:
        assert candles.upsert_candles(connection, [candle(provisional=True)]) == {key: 0}
        assert candles.upsert_candles(connection, [candle(provisional=True)]) == {}
        assert connection.scalar(changed) is None
        assert candles.upsert_candles(connection, [candle()]) == {key: 1}
        assert connection.scalar(changed) is True
        assert candles.upsert_candles(connection, [candle(volume=Decimal(2))]) == {key: 2}
        assert candles.upsert_candles(connection, [candle(volume=Decimal(2))]) == {}


def test_the_exchanges_equal_candle_does_not_take_the_count_away(database_url):
    theirs = candle(trades_count=0, source="exchange")
    key = ("BTC-USDT", Timeframe.M1, theirs.close_ms)
    with database.engine(database_url).begin() as connection:
        assert candles.upsert_candles(connection, [theirs]) == {key: 0}
        assert candles.upsert_candles(connection, [candle()]) == {key: 0}
        assert candles.upsert_candles(connection, [theirs]) == {}
        (stored,) = resume.exact_candles(connection, "BTC-USDT", Timeframe.M1, NOON, NOON + DAY_MS)
    assert stored == candle()


def test_trades_are_stored_once_in_partitions_of_their_day(database_url):
    tape = [trade(1), trade(3, NOON + 1), trade(5, NOON + DAY_MS)]
    with database.engine(database_url).begin() as connection:
        assert trades.copy_trades(connection, tape) == 3
        assert trades.copy_trades(connection, [*tape, trade(7)]) == 1
        days = [date(2025, 11, 21), date(2025, 11, 22)]
        assert trade_days.made_days(connection) == days
        assert trade_days.stored_days(connection, "BTC-USDT") == days
        assert trade_days.stored_days(connection, "ETH-USDT") == []
        assert resume.trades_since(connection, "BTC-USDT", NOON + 1) == [tape[1], tape[2]]
        assert trades.last_trade_ids(connection, ["BTC-USDT", "ETH-USDT"]) == {
            "BTC-USDT": trades.StoredTrade(7, NOON)
        }


def test_collecting_resumes_at_the_last_minute_of_its_own_or_at_one_with_a_hole(database_url):
    engine = database.engine(database_url)
    with engine.begin() as connection:
        assert resume.resume_point(connection, "BTC-USDT") is None
        trades.copy_trades(
            connection, [trade(10, NOON + 5), trade(12, NOON + 60_010), trade(14, NOON + 120_001)]
        )
        first = resume.resume_point(connection, "BTC-USDT")
        assert first == resume.ResumePoint(
            trades.StoredTrade(14, NOON + 120_001), NOON + 120_000, trades.StoredTrade(12, NOON + 60_010)
        )
        candles.upsert_candles(connection, [candle(1), candle(9, source="exchange")])
        later = resume.resume_point(connection, "BTC-USDT")
        assert later is not None
        assert (later.start_ms, later.anchor) == (NOON + 60_000, trades.StoredTrade(10, NOON + 5))
        candles.upsert_candles(connection, [candle(2, provisional=True), candle(3)])
        holed = resume.resume_point(connection, "BTC-USDT")
        assert holed is not None
        assert holed.start_ms == NOON + 60_000


def test_a_heartbeat_replaces_the_one_before_and_events_add_up(database_url):
    engine = database.engine(database_url)
    health.beat(engine, "live", NOON, None, {"n": 1})
    health.beat(engine, "live", NOON + 1_000, NOON, {"n": 2})
    health.record_event(engine, "info", "live", "started", "one", now_ms=NOON)
    health.record_event(engine, "error", "live", "crashed", "two", {"code": 3})
    with engine.connect() as connection:
        (row,) = connection.execute(text("SELECT details, exchange_time FROM heartbeats")).all()
        levels = connection.execute(text("SELECT level FROM system_events ORDER BY id")).scalars().all()
    assert (row.details, row.exchange_time.hour) == ({"n": 2}, 12)
    assert levels == ["info", "error"]


def test_the_kill_switch_is_off_until_it_is_turned_on(database_url):
    engine = database.engine(database_url)
    assert not controls.kill_switch_is_on(engine)
    controls.set_kill_switch(engine, True, "test")
    assert controls.kill_switch_is_on(engine)
    controls.set_kill_switch(engine, False)
    assert not controls.kill_switch_is_on(engine)


def test_instruments_are_replaced_by_their_newer_rules(database_url):
    engine = database.engine(database_url)
    old = Instrument("BTC-USDT", "BTC", "USDT", Decimal("0.1"), Decimal("1E-8"), Decimal("0.00001"))
    new = msgspec.structs.replace(old, tick_size=Decimal("0.01"))
    instruments.upsert_instruments(engine, [old])
    instruments.upsert_instruments(engine, [new])
    assert instruments.read_instruments(engine) == {"BTC-USDT": new}


def test_one_daemon_holds_the_lock_of_a_database(database_url):
    engine = database.engine(database_url)
    first, second = DaemonLock(engine), DaemonLock(engine)
    assert first.hold()
    assert not second.hold()
    assert first.hold()
    first.release()
    assert second.hold()
    second.release()


async def test_a_lock_whose_connection_was_ended_is_taken_again(database_url):
    engine = database.engine(database_url)
    lock = DaemonLock(engine)
    assert lock.hold()
    with engine.begin() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted")
        )
    await until(lock.hold)  # a session that was told to end takes its time
    assert not DaemonLock(engine).hold()
    lock.release()


async def test_a_lease_whose_session_was_ended_is_an_outage_and_then_taken_again(database_url):
    """The supervisor of the bots waits for the database; it does not crash on the end of its session."""
    engine = database.engine(database_url)
    lease = Lease(engine)
    assert lease.hold()
    with engine.begin() as connection:
        ended = text(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()"
        )
        assert connection.execute(ended).scalars().all() == [True]
    with pytest.raises(DBAPIError):
        lease.hold()
    await until(lease.hold)
    assert not Lease(engine).hold()
    lease.release()


def test_a_server_that_goes_during_a_migration_is_an_outage(database_url):
    """A process that is just starting then says so in one line, and its supervisor starts it again."""
    with ThreadPoolExecutor(1) as pool, database.engine(database_url).connect() as connection:
        key = {"key": database.MIGRATION_LOCK}
        connection.execute(text("SELECT pg_advisory_lock(:key)"), key)
        migrating = pool.submit(database.migrate, database_url)
        ended = text(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database "
            "WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()"
        )
        while not connection.execute(ended).all():
            assert not migrating.done()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
        with pytest.raises(Unavailable, match=r"PostgreSQL at .* does not answer: terminating"):
            migrating.result(30)


def test_fills_of_a_bot_are_counted_as_they_are_stored_repeated_and_deleted(database_url):
    """The list of bots reads the count, and not the table."""
    engine = database.engine(database_url)
    bot = text(
        "WITH made AS (INSERT INTO bots (name, strategy_name, symbol, timeframe, status, config, "
        "virtual_balance, current_balance) VALUES (:name, 's', 'X', '1m', 'active', '{}', 1, 1) "
        "RETURNING id) INSERT INTO positions (bot_id, symbol, cash, quantity, cost, realised_pnl, fees) "
        "SELECT id, 'X', 1, 0, 0, 0, 0 FROM made"
    )
    fills = text(
        "INSERT INTO trades (id, bot_id, timestamp, side, price, quantity, fees, balance_after) "
        "SELECT name || n, id, now(), 'buy', 1, 1, 0, 1 FROM bots, generate_series(1, 3) AS n "
        "ON CONFLICT DO NOTHING"
    )
    with engine.begin() as connection:
        for name in ("a", "b"):
            connection.execute(bot, {"name": name})
        for _ in range(2):
            connection.execute(fills)
    assert [row["fills"] for row in overview(engine, datetime.now(UTC))] == [3, 3]
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM trades WHERE id IN ('a1', 'b1', 'b2', 'b3')"))
    assert [row["fills"] for row in overview(engine, datetime.now(UTC))] == [2, 0]


def test_connections_that_a_burst_opened_stay_open(database_url):
    """The next burst, of as many, is answered by them: opening one costs as much as a dozen reads."""
    engine = database.engine(database_url)

    def burst() -> set[int]:
        with ExitStack() as opened:
            connections = [opened.enter_context(engine.connect()) for _ in range(12)]
            return {connection.scalar(text("SELECT pg_backend_pid()")) for connection in connections}

    first = burst()
    assert len(first) == 12
    assert burst() == first


def test_queries_are_answered_uncompiled(database_url):
    with database.engine(database_url).connect() as connection:
        assert connection.execute(text("SHOW jit")).scalar() == "off"
