"""Evaluates the automation conditions as Dagster's daemon does, at six times, and prints the assets and the
checks that each requests: at 10:07 and 10:15 before anything was built, at 10:16, when all is built; at
10:30, after which the snapshots of bots grow; at 10:35; at 10:45.
"""

import json
import sys
from datetime import UTC, datetime

import dagster as dg

from orchestration.definitions import defs

MODELS = {"staging", "intermediate", "marts"}


def main() -> None:
    """Print two lists of lists: keys of assets, keys of checks of the daemon's tables."""
    graph = defs.get_repository_def().asset_graph
    assets = graph.materializable_asset_keys
    checks = [key for key in graph.asset_check_keys if key.asset_key.path[0] == "public"]
    cursor, found, checked = None, [], []
    with dg.DagsterInstance.ephemeral() as instance:
        for minute in (7, 15, 16, 30, 35, 45):
            at = datetime(2026, 3, 1, 10, minute, 30, tzinfo=UTC)
            result = dg.evaluate_automation_conditions(defs, instance, evaluation_time=at, cursor=cursor)
            cursor = result.cursor
            found.append(sorted(key.to_user_string() for key in assets if result.get_num_requested(key)))
            asked = {one.true_subset.key for one in result.results if one.true_subset.size}
            checked.append(sorted(f"{key.asset_key.path[-1]}: {key.name}" for key in checks if key in asked))
            grown: list[dg.AssetKey] = []
            if minute == 16:
                grown = [key for key in assets if key.path[0] in MODELS]
            elif minute == 30:
                grown = [dg.AssetKey(["public", "bot_performance"])]
            for key in grown:
                instance.report_runless_asset_event(dg.AssetMaterialization(key))
    json.dump([found, checked], sys.stdout)


if __name__ == "__main__":
    main()
