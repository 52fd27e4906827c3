"""What Dagster sees of the daemon, and what it tells of its own failures."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import text

from config.settings import PROJECT_ROOT
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import beat

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

TICK = """
import json, sys
import dagster as dg
from orchestration.defs.live.sensors import daemon_heartbeat
found = daemon_heartbeat(dg.build_sensor_context(cursor=sys.argv[1] or None))
skipped = isinstance(found, dg.SkipReason)
print(json.dumps({
    "skipped": found.skip_message if skipped else None,
    "events": [] if skipped else [
        [event.asset_key.path[-1], event.metadata["newest"].value] for event in found.asset_events
    ],
    "cursor": "" if skipped else found.cursor,
}))
"""


def tick(home: Path, database_url: str, cursor: str = "") -> dict[str, object]:
    """One evaluation of the sensor in a process of its own, as the code server does it."""
    done = subprocess.run(
        (sys.executable, "-c", TICK, cursor),
        cwd=PROJECT_ROOT,
        env={**os.environ, "TCP_HOME": str(home), "TCP_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_tables_are_reported_while_the_daemon_lives(parsed_home: Path, database_url: str):
    """No heartbeat, no report; with one, each table that has rows once, and again only after it grew."""
    assert tick(parsed_home, database_url)["skipped"] == "no heartbeat of the daemon yet"
    now_ms = time.time_ns() // 1_000_000
    connections = engine(database_url)
    beat(connections, "live", now_ms, now_ms, {})
    insert = text(
        "INSERT INTO market_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume, "
        "source) VALUES ('okx', 'BTC-USDT', '1m', to_timestamp(:at), 1, 1, 1, 1, 1, 'trades')"
    )
    with connections.begin() as connection:
        connection.execute(insert, {"at": 1_780_000_020})
    first = tick(parsed_home, database_url)
    assert first["events"] == [["market_data", 1_780_000_020]]
    assert tick(parsed_home, database_url, str(first["cursor"]))["events"] == []
    with connections.begin() as connection:
        connection.execute(insert, {"at": 1_780_000_620})
    second = tick(parsed_home, database_url, str(first["cursor"]))
    assert second["events"] == [["market_data", 1_780_000_620]]


def test_a_daemon_that_went_silent_reports_nothing(parsed_home: Path, database_url: str):
    """A heartbeat of ten minutes ago is told as such, and its tables are not called fresh."""
    now_ms = time.time_ns() // 1_000_000
    beat(engine(database_url), "live", now_ms - 600_000, None, {})
    assert "last heartbeat 6" in str(tick(parsed_home, database_url)["skipped"])
