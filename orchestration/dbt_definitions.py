"""Models that keep their rows from build to build: by which definition, and built anew when it changed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration.dbt_command import ensure_manifest, run_dbt
from orchestration.dbt_window import event_times


def fingerprints(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Relation ("schema.table") of each incremental model → a hash of all that its rows are made by: its SQL,
    columns and materialization, the project's macros it calls, and the same of every model above it."""
    return {
        f"{node['schema']}.{node['alias']}": _fingerprint(manifest, key)
        for key, node in manifest["nodes"].items()
        if node["resource_type"] == "model" and node["config"]["materialized"] == "incremental"
    }


def rebuild_redefined(home: Path, database_url: str) -> list[str]:
    """Build anew, with all their days, the incremental models whose tables another definition made, an older
    version of the project's for instance; their names.

    By itself dbt would keep their rows and at most add columns. Nothing is noted before it is done: a rebuild
    that fails or is killed is begun again by the next build. Unavailable as `run_dbt`.
    """
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.model_builds import built_otherwise, note_builds

    connections = engine(database_url)
    present = fingerprints(json.loads(ensure_manifest(home).read_text(encoding="utf-8")))
    stale = built_otherwise(connections, present)
    names = [_name(relation) for relation in stale]
    if names:
        kept = [_name(relation) for relation in present if relation not in stale]
        chosen = ["--select", *(f"+{name}" for name in names), *(["--exclude", *kept] if kept else [])]
        window = event_times(database_url, full_refresh=True)
        run_dbt(["run", "--quiet", *chosen, *window], home, database_url)
    note_builds(connections, present)
    return names


def _fingerprint(manifest: Mapping[str, Any], key: str) -> str:
    node = manifest["nodes"][key]
    columns = [(column["name"], column["data_type"]) for column in node["columns"].values()]
    parts = [node["raw_code"], node["config"]["materialized"], columns]
    parts += [manifest["macros"][name]["macro_sql"] for name in _macros(manifest, node)]
    parts += [_fingerprint(manifest, name) for name in _above(manifest, node)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _above(manifest: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in node["depends_on"]["nodes"] if name in manifest["nodes"])


def _macros(manifest: Mapping[str, Any], caller: Mapping[str, Any]) -> list[str]:
    """Names of the project's own macros that a model or macro calls, and those call."""
    macros = manifest["macros"]
    own = {name for name in caller["depends_on"]["macros"] if macros[name]["package_name"] == "tcp"}
    called = (_macros(manifest, macros[name]) for name in own)
    return sorted(own.union(*called))


def _name(relation: str) -> str:
    return relation.partition(".")[2]
