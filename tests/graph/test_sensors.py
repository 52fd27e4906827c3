"""What Dagster sees of the daemon, and what it tells of its own failures."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from config.settings import PROJECT_ROOT
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import beat

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
    candle of the future is no growth and hides none, nor does a cursor that was led there by one."""
    assert tick()["skipped"] == "no heartbeat of the daemon yet"
    now_ms = time.time_ns() // 1_000_000
    connections = engine(database_url)
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


FILES = """
import json, os, pathlib
import dagster as dg
from orchestration.defs.backtests.sensors import new_sweep_files
folder = pathlib.Path(os.environ["TCP_CONFIG_DIR"]) / "sweeps"
cursor, found = None, []
for name, content in ((None, None), ("new.json", "{}"), (None, None), ("old.json", "[]")):
    if name:
        (folder / name).write_text(content)
    asked = new_sweep_files(dg.build_sensor_context(cursor=cursor))
    skipped = isinstance(asked, dg.SkipReason)
    cursor = cursor if skipped else asked.cursor
    found.append([] if skipped else [
        request.run_config["ops"]["sweeps"]["config"]["file"] for request in asked.run_requests
    ])
print(json.dumps(found))
"""


def test_a_new_or_changed_sweep_file_is_run_once(tmp_path: Path):
    """Files that were there at first are left alone, a new one and a changed one are each asked for once."""
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
    assert json.loads(done.stdout) == [[], ["new.json"], [], ["old.json"]]
