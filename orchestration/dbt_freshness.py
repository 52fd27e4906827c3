"""How late the daemon's tables are, as dbt's sources say it. Knows no Dagster."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import Unavailable
from orchestration.dbt_command import run_dbt

TARGET = "freshness"


@dataclass(frozen=True)
class SourceFreshness:
    """How late a table is.

    status: against `warn_after` and `error_after` of dbt_project/models/sources.yml
    age_s: since its newest row was due; None for a table that is empty
    """

    table: str
    status: Literal["pass", "warn", "error"]
    age_s: float | None


def source_freshness(home: Path, database_url: str) -> dict[str, SourceFreshness]:
    """What `dbt source freshness` says of each source that has a limit, by table; Unavailable when dbt cannot
    tell, because the database is away for instance."""
    results = home.resolve() / "dbt" / TARGET / "sources.json"
    results.unlink(missing_ok=True)
    # It ends with 1 for a late table, too: what it wrote tells them apart.
    said = run_dbt(["source", "freshness", "--quiet"], home, database_url, TARGET, may_fail=True)
    if not results.exists():
        raise Unavailable("dbt source freshness failed: " + (said.stdout + said.stderr).strip()[-2000:])
    found = {}
    for result in json.loads(results.read_text(encoding="utf-8"))["results"]:
        table = result["unique_id"].rpartition(".")[2]
        if "max_loaded_at_time_ago_in_s" not in result:
            raise Unavailable(f"dbt source freshness of {table} failed: {result['error']}")
        is_empty = result["max_loaded_at"].startswith("0001-")
        age_s = None if is_empty else float(result["max_loaded_at_time_ago_in_s"])
        found[table] = SourceFreshness(table, result["status"], age_s)
    return found
