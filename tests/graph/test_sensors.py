"""What Dagster sees of the daemon, and what it tells of its own failures."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from config.settings import PROJECT_ROOT
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import beat
from pipelines.warehouse.inventory import heartbeat_age_s
from pipelines.warehouse.trade_days import ensure_partitions
from tests.graph.outside import run_outside

Tick = Callable[..., dict[str, Any]]

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

TICKS = """
import json, sys
import dagster as dg
from orchestration.defs.live.sensors import daemon_heartbeat
for line in sys.stdin:
    found = daemon_heartbeat(dg.build_sensor_context(cursor=json.loads(line)))
    skipped = isinstance(found, dg.SkipReason)
    print(json.dumps({
        "skipped": found.skip_message if skipped else None,
        "events": [] if skipped else [
            [event.asset_key.path[-1], event.metadata["newest"].value] for event in found.asset_events
        ],
        "cursor": None if skipped else found.cursor,
    }), flush=True)
"""


@pytest.fixture
def tick(parsed_home: Path, database_url: str) -> Iterator[Tick]:
    """Evaluates the sensor with a cursor, in a process of its own as the code server does."""
    environment = {**os.environ, "TCP_HOME": str(parsed_home), "TCP_DATABASE_URL": database_url}
    command = (sys.executable, "-c", TICKS)
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        asked, said = process.stdin, process.stdout
        assert asked is not None
        assert said is not None

        def evaluate(cursor: str | None = None) -> dict[str, Any]:
            asked.write(json.dumps(cursor) + "\n")
            asked.flush()
            answer: dict[str, Any] = json.loads(said.readline())
            return answer

        yield evaluate


def test_tables_are_reported_while_the_daemon_lives(tick: Tick, database_url: str):
    """No heartbeat, no report; with one, each table that has rows once, and again only after it grew. A
    candle of the future is no growth and hides none, nor does a cursor that was led there by one. Dagster is
    heard of with each look."""
    connections = engine(database_url)
    assert heartbeat_age_s(connections, "dagster") is None
    assert tick()["skipped"] == "no heartbeat of the daemon yet"
    assert (heartbeat_age_s(connections, "dagster") or 3600) < 60
    now_ms = time.time_ns() // 1_000_000
    beat(connections, "live", now_ms, now_ms, {})
    insert = text(
        "INSERT INTO market_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume, "
        "source) VALUES ('okx', 'BTC-USDT', '1m', to_timestamp(:at), 1, 1, 1, 1, 1, 'trades')"
    )
    with connections.begin() as connection:
        connection.execute(insert, {"at": 1_780_000_020})
        connection.execute(insert, {"at": 4_070_908_860})
    first = tick()
    assert first["events"] == [["market_data", 1_780_000_020]]
    assert tick(first["cursor"])["events"] == []
    with connections.begin() as connection:
        connection.execute(insert, {"at": 1_780_000_620})
    second = tick(first["cursor"])
    assert second["events"] == [["market_data", 1_780_000_620]]
    beat(connections, "live", now_ms, now_ms + 7_200_000, {})
    with connections.begin() as connection:
        connection.execute(insert, {"at": now_ms // 1000 + 3_600})
    ahead = tick(json.dumps({"market_data": 4_070_908_860_000}))
    assert ahead["skipped"] is not None
    beat(connections, "live", now_ms, now_ms + 9_000_000, {})
    with connections.begin() as connection:
        connection.execute(insert, {"at": now_ms // 1000 + 8_400})
    assert tick(ahead["cursor"])["events"] != []


def test_a_daemon_that_went_silent_reports_nothing(tick: Tick, database_url: str):
    """A heartbeat of ten minutes ago is told as such, and its tables are not called fresh."""
    now_ms = time.time_ns() // 1_000_000
    beat(engine(database_url), "live", now_ms - 600_000, None, {})
    assert "last heartbeat 6" in str(tick()["skipped"])


LATE = """
import json
import dagster as dg
from orchestration.defs.live.checks import source_freshness
done = dg.materialize([source_freshness], selection=dg.AssetSelection.checks(source_freshness))
print(json.dumps({
    found.asset_key.path[-1]: [found.passed, found.severity.name, found.metadata["status"].value]
    for found in done.get_asset_check_evaluations()
}))
"""
STORED = """
    INSERT INTO market_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume, source)
    VALUES ('okx', 'BTC-USDT', '1m', '2030-01-01 00:01Z', 1, 1, 1, 1, 1, 'trades');
    INSERT INTO raw_trades (exchange, symbol, trade_id, timestamp, price, size, side, source, received_at)
    VALUES ('okx', 'BTC-USDT', 1, :now, 1, 1, 'buy', 'rest', now() - interval '2 days');
    INSERT INTO bots (id, name, strategy_name, symbol, timeframe, status, config, virtual_balance,
                      current_balance)
    VALUES (1, 'b', 's', 'BTC-USDT', '1h', 'active', '{}', 1, 1),
           (2, 'c', 's', 'BTC-USDT', '1m', 'stopped', '{}', 1, 1);
    INSERT INTO bot_performance (bot_id, timestamp, total_value, cash_balance, crypto_balance, total_trades,
                                 winning_trades, total_fees)
    VALUES (1, :now - interval '100 minutes', 1, 1, 0, 0, 0, 0), (2, :now, 1, 1, 0, 0, 0, 0);
    INSERT INTO signals (id, bot_id, timestamp, signal_type, price, confidence, indicators)
    VALUES ('s', 1, :now - interval '59 minutes', 'hold', 1, 0.5, '{}')
"""


def test_tables_that_stopped_growing_are_told_by_dbts_limits(parsed_home: Path, database_url: str):
    """A bot of hours owes a snapshot for 40 minutes, by the exchange's clock, which is years ahead: a
    warning; its signal is not due. Trades that came two days ago are a failure, a candle of now is none."""
    now = datetime(2030, 1, 1, 12, tzinfo=UTC)
    ahead_ms = int(now.timestamp() * 1000)
    connections = engine(database_url)
    beat(connections, "live", time.time_ns() // 1_000_000, ahead_ms, {})
    with connections.begin() as connection:
        ensure_partitions(connection, ahead_ms, ahead_ms)
        for statement in STORED.split(";"):
            connection.execute(text(statement.replace(":now", f"timestamptz '{now}'")))
    said = run_outside("-c", LATE, TCP_HOME=parsed_home, TCP_DATABASE_URL=database_url)
    assert json.loads(said) == {
        "bot_performance": [False, "WARN", "warn"],
        "market_data": [True, "WARN", "pass"],
        "raw_trades": [False, "ERROR", "error"],
        "signals": [True, "WARN", "pass"],
    }


FILES = """
import json, os, pathlib
import dagster as dg
from orchestration.defs.backtests.sensors import new_sweep_files
folder = pathlib.Path(os.environ["TCP_CONFIG_DIR"]) / "sweeps"
cursor, found, keys = None, [], []
(folder / "old.json").rename(folder / "kept")
(folder / "old.json").write_bytes((folder / "kept").read_bytes())
for name, content in ((None, None), ("new.json", "{}"), (None, None), ("old.json", "[]"), ("old.json", None),
                      ("old.json", "[]")):
    if name and content:
        (folder / name).write_text(content)
    elif name:
        (folder / "kept").rename(folder / name)
    asked = new_sweep_files(dg.build_sensor_context(cursor=cursor))
    repeated = new_sweep_files(dg.build_sensor_context(cursor=cursor))
    skipped = isinstance(asked, dg.SkipReason)
    requests = [] if skipped else asked.run_requests
    assert skipped or [one.run_key for one in repeated.run_requests] == [one.run_key for one in requests]
    cursor = cursor if skipped else asked.cursor
    keys += [one.run_key for one in requests]
    found.append([one.run_config["ops"]["sweeps"]["config"]["file"] for one in requests])
print(json.dumps([found, len(set(keys))]))
"""


def test_a_new_or_changed_sweep_file_is_run_once(tmp_path: Path):
    """Files that were there at first are left alone, a new one and a changed one are each asked for once, and
    so is one that is put back to what it was: under a key of its own, which a repeated look repeats."""
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "old.json").write_text("{}")
    done = subprocess.run(
        (sys.executable, "-c", FILES),
        cwd=PROJECT_ROOT,
        env={**os.environ, "TCP_CONFIG_DIR": str(tmp_path), "TCP_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    changes = [[], ["new.json"], [], ["old.json"], ["old.json"], ["old.json"]]
    assert json.loads(done.stdout) == [changes, 4]
