"""The backups that Dagster makes, and what it removes."""

import pytest
from sqlalchemy import text

from pipelines.warehouse.database import engine
from tests.graph.outside import run_outside

pytestmark = pytest.mark.servers

RUN = """
import dagster as dg
from orchestration.defs.operations.assets import base_backup, database_backup
done = dg.materialize([database_backup])
said = done.asset_materializations_for_node("database_backup")[0].metadata
print(said["verified"].value, said["dagster/row_count"].value, said["file"].value)
failed = dg.materialize([base_backup], raise_on_error=False)
print(failed.success, failed.failure_data_for_node("base_backup").user_failure_data.description)
"""


def test_backup_is_tried_and_a_mistake_is_one_line(database_url, tmp_path):
    """The run says what was written and tried; without an archive a base backup names the setting."""
    said = run_outside("-c", RUN, TCP_HOME=tmp_path, TCP_DATABASE_URL=database_url)
    backup, mistake = said.strip().splitlines()
    verified, rows, file = backup.split(" ", 2)
    assert verified == "True" and int(rows) >= 1
    assert file.startswith(str(tmp_path / "backups"))
    assert mistake.startswith("False") and "TCP_WAL_ARCHIVE: is not set" in mistake
    assert [path.name for path in (tmp_path / "backups").iterdir()] == [file.rpartition("/")[2]]


EVENTS = """
    INSERT INTO system_events (timestamp, level, component, event, message)
    SELECT now() - n * interval '1 day', 'info', 'test', 'event', 'said' FROM generate_series(1, 5) AS n
"""
OLD = """
import os
import dagster as dg
from pathlib import Path
from datetime import UTC, datetime, timedelta
from dagster._core.storage.dagster_run import DagsterRun
from orchestration.defs.operations.retention import old_data, run_history
home = Path(os.environ["TCP_HOME"], "dagster")
home.mkdir()
with dg.DagsterInstance.local_temp(str(home)) as instance:
    for name, days, status, tags in (
        ("old", 100, "SUCCESS", {}), ("failed", 100, "FAILURE", {}), ("running", 100, "STARTED", {}),
        ("partition", 100, "SUCCESS", {"dagster/partition": "2026-01-01|BTC-USDT"}),
        ("new", 80, "SUCCESS", {}),
    ):
        run = DagsterRun("job", name, status=dg.DagsterRunStatus(status), tags=tags)
        instance.run_storage.add_historical_run(run, datetime.now(UTC) - timedelta(days=days))
        logs = instance.compute_log_manager
        log = Path(logs.get_captured_local_path([name, "compute_logs", "step"], "out"))
        log.parent.mkdir(parents=True)
        log.write_text("said")
    done = dg.materialize([old_data, run_history], instance=instance)
    made = (done.asset_materializations_for_node(name) for name in ("old_data", "run_history"))
    old, runs = (one.metadata for (one,) in made)
    kept = sorted(run.run_id for run in instance.get_runs() if run.job_name == "job")
    print("signals" in old, old["events"].value, runs["forgotten"].value, *kept)
    print(*sorted(path.parents[1].name for path in home.rglob("step.out")))
"""


def test_what_is_too_old_goes(database_url, tmp_path):
    """Events past their days go and what has no days stays; runs that ended three months ago are forgotten,
    but for those of partitions, and their logs with them."""
    with engine(database_url).begin() as connection:
        connection.execute(text(EVENTS))
    said = run_outside("-c", OLD, TCP_HOME=tmp_path, TCP_DATABASE_URL=database_url, TCP_EVENTS_DAYS=3)
    assert said.splitlines()[-2:] == ["False 3 2 new partition running", "new running"]
    with engine(database_url).connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM system_events")) == 2
