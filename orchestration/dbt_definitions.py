"""Models that keep their rows from build to build: by which definition, and built anew when it changed."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from orchestration.dbt_command import ensure_manifest, run_dbt
from orchestration.dbt_window import days_since, event_times


def fingerprints(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Relation ("schema.table") of each incremental model → a hash of all that its rows are made by: its SQL,
    columns and materialization, the project's macros it calls, and the same of every model above it."""
    return {relation: _fingerprint(manifest, key) for relation, key in _incremental(manifest).items()}


def rebuild_redefined(home: Path, database_url: str, everything: bool = False) -> list[str]:
    """Build anew the incremental models whose tables another definition made, an older version of the
    project's for instance; their names.

    By itself dbt would keep their rows and at most add columns. Days of bots that retention has thinned keep
    the rows they have, unless `everything` is to be made of what is left; views on a model that is built from
    nothing are there again when it is. Nothing is noted before it is done: a rebuild that fails or is killed
    is begun again by the next build. Unavailable as `run_dbt`.
    """
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.model_builds import built_otherwise, note_builds
    from pipelines.warehouse.model_days import first_whole_day

    connections = engine(database_url)
    manifest = json.loads(ensure_manifest(home).read_text(encoding="utf-8"))
    present = fingerprints(manifest)
    stale = built_otherwise(connections, present)
    whole_from = None if everything or not stale else first_whole_day(connections)
    for relations, window in _rebuilds(manifest, database_url, stale, whole_from):
        chosen = _selection(manifest, relations, [name for name in present if name not in relations])
        run_dbt(["run", "--quiet", *chosen, *window], home, database_url)
    note_builds(connections, present)
    return [_name(relation) for relation in stale]


def _rebuilds(
    manifest: Mapping[str, Any], database_url: str, stale: list[str], whole_from: date | None
) -> list[tuple[list[str], list[str]]]:
    """Relations that are built together, and the days they are built for: all, from nothing; or, of models of
    thinned days, those since then, in place."""
    in_place = [] if whole_from is None else [name for name in stale if _is_of_detail(manifest, name, stale)]
    anew = [name for name in stale if name not in in_place]
    found = [(anew, event_times(database_url, full_refresh=True))] if anew else []
    if whole_from is not None and in_place and (days := days_since(database_url, whole_from)):
        found.append((in_place, days))
    return found


def _is_of_detail(manifest: Mapping[str, Any], relation: str, stale: list[str]) -> bool:
    """Whether its rows are made of those of bots, day by day, and not of a model that keeps its own."""
    keys = _incremental(manifest)
    node = manifest["nodes"][keys[relation]]
    kept = {key for name, key in keys.items() if name not in stale}
    return node["config"]["incremental_strategy"] == "microbatch" and not kept & set(_above(manifest, node))


def _selection(manifest: Mapping[str, Any], relations: list[str], others: list[str]) -> list[str]:
    """Arguments that choose the models with all that is above them and the views below them, but for the
    other incremental models."""
    keys = {_incremental(manifest)[relation] for relation in relations}
    views = [
        node["name"]
        for key, node in manifest["nodes"].items()
        if node["config"]["materialized"] == "view" and keys & _all_above(manifest, key)
    ]
    chosen = [f"+{name}" for name in [*map(_name, relations), *views]]
    return ["--select", *chosen, *(["--exclude", *map(_name, others)] if others else [])]


def _incremental(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Relation of each incremental model → its key in the manifest."""
    return {
        f"{node['schema']}.{node['alias']}": key
        for key, node in manifest["nodes"].items()
        if node["resource_type"] == "model" and node["config"]["materialized"] == "incremental"
    }


def _fingerprint(manifest: Mapping[str, Any], key: str) -> str:
    node = manifest["nodes"][key]
    columns = [(column["name"], column["data_type"]) for column in node["columns"].values()]
    parts = [node["raw_code"], node["config"]["materialized"], columns]
    parts += [manifest["macros"][name]["macro_sql"] for name in _macros(manifest, node)]
    parts += [_fingerprint(manifest, name) for name in _above(manifest, node)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _above(manifest: Mapping[str, Any], node: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in node["depends_on"]["nodes"] if name in manifest["nodes"])


def _all_above(manifest: Mapping[str, Any], key: str) -> set[str]:
    parents = _above(manifest, manifest["nodes"][key])
    return set(parents).union(*(_all_above(manifest, parent) for parent in parents))


def _macros(manifest: Mapping[str, Any], caller: Mapping[str, Any]) -> list[str]:
    """Names of the project's own macros that a model or macro calls, and those call."""
    macros = manifest["macros"]
    own = {name for name in caller["depends_on"]["macros"] if macros[name]["package_name"] == "tcp"}
    called = (_macros(manifest, macros[name]) for name in own)
    return sorted(own.union(*called))


def _name(relation: str) -> str:
    return relation.partition(".")[2]
