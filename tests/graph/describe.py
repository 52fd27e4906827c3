"""Prints the shape of the definitions as JSON: `python -m tests.graph.describe > tests/graph/golden.json`."""

import json
import sys
from typing import Any

import dagster as dg
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from orchestration.definitions import defs

DBT_TESTS = ("not_null_", "unique_", "accepted_values_", "relationships_")
HEAVY = {"polars", "numba", "aiohttp", "duckdb", "pyarrow"}
"""What only steps need: every run loads the definitions anew."""


def describe(definitions: dg.Definitions) -> dict[str, Any]:
    """Assets with their upstream keys, checks, jobs, schedules and sensors, all sorted."""
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    assets = {}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        assets[key.to_user_string()] = {
            "deps": sorted(parent.to_user_string() for parent in node.parent_keys),
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "materializable": node.is_materializable,
            "partitions": _dimensions(node.partitions_def),
            "pools": sorted(node.pools or []),
            "retries": _retries(definitions, key),
            "single_run": node.backfill_policy is not None
            and node.backfill_policy.max_partitions_per_run is None,
            "checks": sorted(check.name for check in node.check_keys),
            "automation": None
            if node.automation_condition is None
            else node.automation_condition.get_label(),
            "fresh_within_s": _window(node.freshness_policy),
        }
    return {
        "assets": assets,
        "checks": {
            f"{key.asset_key.to_user_string()}:{key.name}": [
                graph.get(key).blocking,
                graph.get(key).automation_condition is not None,
            ]
            for key in sorted(graph.asset_check_keys, key=str)
            if not key.name.startswith(DBT_TESTS)
        },
        "jobs": {
            job.name: sorted(key.to_user_string() for key in job.asset_layer.executable_asset_keys)
            for job in repository.get_all_jobs()
            if not job.name.startswith("__")
        },
        "schedules": {
            schedule.name: [schedule.cron_schedule, schedule.job_name, schedule.default_status.value]
            for schedule in repository.schedule_defs
        },
        "heavy_imports": sorted(HEAVY & sys.modules.keys()),
        "sensors": {
            sensor.name: [sensor.minimum_interval_seconds, sensor.default_status.value]
            for sensor in repository.sensor_defs
        },
    }


def _retries(definitions: dg.Definitions, key: dg.AssetKey) -> int:
    asset = definitions.get_repository_def().assets_defs_by_key.get(key)
    if asset is None or not asset.is_executable:
        return 0
    return 0 if asset.op.retry_policy is None else asset.op.retry_policy.max_retries


def _window(policy: dg.FreshnessPolicy | None) -> float | None:
    if policy is None:
        return None
    assert isinstance(policy, TimeWindowFreshnessPolicy)
    return policy.fail_window.to_timedelta().total_seconds()


def _dimensions(partitions: dg.PartitionsDefinition | None) -> list[str]:
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return sorted(partitions.partition_dimension_names)
    return [] if partitions is None else [type(partitions).__name__]


if __name__ == "__main__":
    json.dump(describe(defs), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
