"""What is old leaves PostgreSQL as the settings say: proven first, and by default nothing."""

import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine, text

from config.settings import PROJECT_ROOT, Settings
from core.metrics import drawdown
from core.timeframes import Timeframe
from pipelines.lake.archive import archive_days
from pipelines.retention import PrunedDay, prune
from pipelines.warehouse.bot_ledger import Ledger
from pipelines.warehouse.database import engine
from pipelines.warehouse.sql import to_ms
from pipelines.warehouse.trade_days import made_days
from tests.big_tables import DAYS, START_MS, fill

pytestmark = pytest.mark.servers

SYMBOL, OTHER = "BTC-USDT", "ETH-USDT"
DAY_MS = 86_400_000
NOW_MS = START_MS + 20 * DAY_MS
FIRST = date(2025, 9, 1)
NOT_ARCHIVED = "not in the lake yet: run `tcp data archive`"


@pytest.fixture
def filled(database_url: str) -> Engine:
    """Ten days of trades of five symbols; fifty bots with a hundred minutes each."""
    own = engine(database_url)
    fill(own, 5_000)
    return own


def settings(database_url: str, lake: Path, **days: int) -> Settings:
    return Settings(database_url=database_url, lake_url=str(lake), **days)  # type: ignore[arg-type]


def count(own: Engine, query: str) -> int:
    with own.connect() as connection:
        return connection.execute(text(query)).scalar() or 0


def test_a_day_of_raw_trades_goes_only_when_the_lake_has_it(filled, database_url, tmp_path):
    list(archive_days(database_url, str(tmp_path), SYMBOL, FIRST, exchange_ms=NOW_MS))
    before = count(filled, "SELECT count(*) FROM raw_trades")
    wanted = settings(database_url, tmp_path, raw_trades_days=DAYS - 2)
    first_day = "WHERE symbol = 'BTC-USDT' AND timestamp < '2025-09-02 00:00+00'"
    of_day = count(filled, f"SELECT count(*) FROM raw_trades {first_day}")

    would = prune(wanted, NOW_MS, dry_run=True).trades
    assert would is not None
    assert PrunedDay(SYMBOL, FIRST, of_day) in would
    assert count(filled, "SELECT count(*) FROM raw_trades") == before

    done = prune(wanted, NOW_MS).trades
    assert done is not None
    assert done == would
    assert {day.day for day in done} == {FIRST}
    assert PrunedDay(OTHER, FIRST, 0, NOT_ARCHIVED) in done
    assert count(filled, "SELECT count(*) FROM raw_trades") == before - of_day
    assert sum(pq.read_metadata(path).num_rows for path in tmp_path.rglob("*.parquet")) == of_day
    assert SYMBOL not in {day.symbol for day in prune(wanted, NOW_MS).trades or []}


def test_trades_that_came_after_the_archive_are_in_the_lake_before_they_go(filled, database_url, tmp_path):
    list(archive_days(database_url, str(tmp_path), SYMBOL, FIRST, exchange_ms=NOW_MS))
    with filled.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO raw_trades (exchange, symbol, trade_id, timestamp, price, size, side, source) "
                "VALUES ('okx', 'BTC-USDT', 7, '2025-09-01 12:00+00', 1, 1, 'buy', 'rest')"
            )
        )
    prune(settings(database_url, tmp_path, raw_trades_days=DAYS - 2), NOW_MS)
    (path,) = tmp_path.rglob("*.parquet")
    assert 7 in pq.read_table(path, partitioning=None)["trade_id"].to_pylist()


def test_the_last_symbol_of_a_day_takes_its_partition_along(filled, database_url, tmp_path):
    list(archive_days(database_url, str(tmp_path), day=FIRST, exchange_ms=NOW_MS))
    prune(settings(database_url, tmp_path, raw_trades_days=DAYS - 2), NOW_MS)
    with filled.connect() as connection:
        left = made_days(connection)
    assert FIRST not in left
    assert left[0] == FIRST + timedelta(days=1)


def test_a_file_that_was_lost_from_the_lake_is_written_again_before_anything_goes(
    filled, database_url, tmp_path
):
    list(archive_days(database_url, str(tmp_path), SYMBOL, FIRST, exchange_ms=NOW_MS))
    (path,) = tmp_path.rglob("*.parquet")
    rows = pq.read_metadata(path).num_rows
    path.unlink()
    prune(settings(database_url, tmp_path, raw_trades_days=DAYS - 2), NOW_MS)
    (again,) = tmp_path.rglob("*.parquet")
    assert pq.read_metadata(again).num_rows == rows


def test_of_a_bot_stay_its_decisions_and_what_a_restart_and_a_chart_need(filled, database_url, tmp_path):
    with filled.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO orders (id, bot_id, signal_id, timestamp, side, order_type, quantity, status) "
                "SELECT 'order', bot_id, id, timestamp, 'buy', 'market', 1, 'filled' FROM signals "
                "WHERE signal_type = 'hold' AND bot_id = 7 ORDER BY timestamp LIMIT 1"
            )
        )
    decisions = count(filled, "SELECT count(*) FROM signals WHERE signal_type <> 'hold'")
    before = Ledger(filled, 7, OTHER, Timeframe.M1).restore()
    extremes = (
        "SELECT array_agg((hi, lo, bot_id) ORDER BY bot_id)::text FROM (SELECT max(total_value) AS hi, "
    )
    extremes += "min(total_value) AS lo, bot_id FROM bot_performance GROUP BY bot_id) AS s"
    curve = count(filled, extremes)

    wanted = settings(database_url, tmp_path, bot_detail_days=3)
    would = prune(wanted, NOW_MS, dry_run=True)
    done = prune(wanted, NOW_MS)
    assert done == would
    assert done.signals == 50 * 100 - decisions - 1
    assert count(filled, "SELECT count(*) FROM signals") == decisions + 1
    assert Ledger(filled, 7, OTHER, Timeframe.M1).restore() == before
    assert count(filled, extremes) == curve
    hours = "SELECT count(DISTINCT date_trunc('hour', timestamp - interval '1 us')) FROM bot_performance"
    assert count(filled, hours) == 2
    assert count(filled, "SELECT count(*) FROM bot_performance WHERE timestamp = '2025-09-01 01:00+00'") == 50
    again = prune(wanted, NOW_MS)
    assert (again.signals, again.snapshots) == (0, 0)


WALK = """
    INSERT INTO bot_performance (bot_id, timestamp, total_value, cash_balance, crypto_balance, total_trades,
                                 winning_trades, total_fees)
    SELECT 7, timestamptz '2025-09-02' + n * interval '1 minute', value, value, 0, 0, 0, 0
    FROM unnest(CAST(:values AS numeric[])) WITH ORDINALITY AS walk (value, n)
"""


def history(own: Engine) -> tuple[tuple[float, float], int, float]:
    """Deepest and longest drawdown of the bot, and the first and the last of its snapshots."""
    with own.connect() as connection:
        rows = connection.execute(
            text("SELECT timestamp, total_value FROM bot_performance WHERE bot_id = 7 ORDER BY timestamp")
        ).all()
    at_ms = np.array([to_ms(row.timestamp) for row in rows], dtype=np.int64)
    value = np.array([float(row.total_value) for row in rows])
    return drawdown(value, at_ms, 10_000.0, 60_000), int(at_ms[0]), float(value[-1])


@pytest.mark.parametrize("seed", range(4))
def test_the_deepest_drawdown_of_a_life_outlives_its_detail(database_url, tmp_path, seed):
    """Wherever in an hour it began and ended: depth, first snapshot and last value are those of before,
    though nine of ten snapshots are gone. A second call removes nothing."""
    own = engine(database_url)
    chance = np.random.default_rng(seed)
    steep = np.where(np.arange(600) == 345, 0.97, 1.0)  # a fall inside an hour, after which it recovers
    walk = 10_000 * np.cumprod(1 + chance.normal(0, 0.004, 600)) * steep
    with own.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO bots (id, name, strategy_name, symbol, timeframe, status, config, "
                "virtual_balance, current_balance) "
                "VALUES (7, 'b', 's', 'BTC-USDT', '1m', 'active', '{}', 10000, 10000)"
            )
        )
        connection.execute(text(WALK), {"values": [round(value, 6) for value in walk.tolist()]})
        connection.execute(
            text(
                "INSERT INTO market_data "
                "(exchange, symbol, timeframe, timestamp, open, high, low, close, volume, source) "
                "VALUES ('okx', 'BTC-USDT', '1m', '2025-09-10', 1, 1, 1, 1, 1, 'trades')"
            )
        )
    (depth, _), first_ms, last = history(own)
    wanted = settings(database_url, tmp_path, bot_detail_days=3)
    removed = prune(wanted, NOW_MS).snapshots
    assert removed is not None
    assert 540 < removed < 580
    (kept_depth, _), kept_first_ms, kept_last = history(own)
    assert (kept_depth, kept_first_ms, kept_last) == (depth, first_ms, last)
    assert prune(wanted, NOW_MS).snapshots == 0


def test_what_is_young_stays_and_events_age_by_the_wall_clock(filled, database_url, tmp_path):
    old = count(filled, "SELECT count(*) FROM system_events WHERE timestamp < '2025-09-03'")
    done = prune(
        settings(database_url, tmp_path, bot_detail_days=11, events_days=18, raw_trades_days=30), NOW_MS
    )
    assert (done.signals, done.snapshots, done.trades, done.events) == (0, 0, [], old)
    assert old > 0


def test_a_candle_of_the_future_makes_nothing_old(filled, database_url, tmp_path):
    """The present is never later than the wall clock, but where a process has seen the exchange's clock run
    ahead of it."""
    with filled.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO market_data "
                "(exchange, symbol, timeframe, timestamp, open, high, low, close, volume, source) "
                "VALUES ('other', 'X-USDT', '1m', '2099-01-01 00:01Z', 1, 1, 1, 1, 1, 'import')"
            )
        )
    wanted = settings(database_url, tmp_path, bot_detail_days=21, raw_trades_days=21)
    kept = prune(wanted, NOW_MS)
    assert (kept.signals, kept.snapshots, kept.trades) == (0, 0, [])
    with filled.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO heartbeats (component, timestamp, exchange_time, details) "
                "VALUES ('live', '2025-09-21 00:00Z', '2025-09-24 00:00Z', '{}')"
            )
        )
    old = prune(wanted, NOW_MS)
    assert old.signals and old.snapshots
    assert {day.day for day in old.trades or []} == {FIRST, FIRST + timedelta(days=1)}


def test_by_default_everything_is_kept_and_the_command_says_which_settings_change_that(
    filled, database_url, tmp_path
):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TCP_")}
    environment |= {
        "TCP_DATABASE_URL": database_url,
        "TCP_HOME": str(tmp_path),
        "TCP_LAKE_URL": str(tmp_path),
    }

    def run(*arguments: str, **variables: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", "cli.main", "data", "prune", *arguments],
            cwd=PROJECT_ROOT,
            env=environment | variables,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert "everything is kept" in run()
    document = json.loads(run("--dry-run", "--json", TCP_RAW_TRADES_DAYS="8"))
    assert document["dry_run"] is True
    assert document["raw_trades"][0]["kept_because"] == NOT_ARCHIVED
    assert document["signals"] is None
