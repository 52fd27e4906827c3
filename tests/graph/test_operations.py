"""The backups that Dagster makes."""

import os
import subprocess
import sys

import pytest

from config.settings import PROJECT_ROOT

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
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("TCP_", "DAGSTER_"))}
    done = subprocess.run(
        (sys.executable, "-W", "ignore", "-c", RUN),
        cwd=PROJECT_ROOT,
        env={**outer, "TCP_HOME": str(tmp_path), "TCP_DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    backup, mistake = done.stdout.strip().splitlines()
    verified, rows, file = backup.split(" ", 2)
    assert verified == "True" and int(rows) >= 1
    assert file.startswith(str(tmp_path / "backups"))
    assert mistake.startswith("False") and "TCP_WAL_ARCHIVE: is not set" in mistake
    assert [path.name for path in (tmp_path / "backups").iterdir()] == [file.rpartition("/")[2]]
