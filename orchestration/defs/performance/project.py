"""The dbt project as Dagster sees it: its manifest, and how its nodes become assets."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DbtProject

from config.settings import settings
from orchestration.automation import ON_NEW_ROWS, WITH_WHAT_IT_READS
from orchestration.dbt_command import ensure_manifest
from orchestration.resources import page_url

FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=1), warn_window=timedelta(hours=1))


@cache
def manifest() -> dict[str, Any]:
    """The project's manifest; a fresh clone parses it here, once, in about 5 s and without a database."""
    document: dict[str, Any] = json.loads(ensure_manifest(settings().home).read_text(encoding="utf-8"))
    return document


class Translator(DagsterDbtTranslator):
    """Keys are schema and table (`marts/bot_daily_pnl`); sources name theirs in their meta. A blanket
    translation of keys would cut the lineage to the daemon's tables."""

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """All models are of one domain."""
        return "performance"

    def get_asset_spec(
        self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetSpec:
        """A model links to the pages that show it. Marts are to be fresh: built every quarter of an hour
        while the daemon lives."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        shown = [exposure for exposure in manifest["exposures"].values() if unique_id in _shows(exposure)]
        if shown:
            links = ", ".join(f"[{exposure['label']}]({_url(exposure)})" for exposure in shown)
            spec = spec.merge_attributes(metadata={"pages": dg.MetadataValue.md(links)})
        if spec.key.path[0] != "marts":
            return spec
        return spec.replace_attributes(freshness_policy=FRESH)

    def get_automation_condition(
        self, dbt_resource_props: Mapping[str, Any]
    ) -> dg.AutomationCondition[Any] | None:
        """Models that read a table of the daemon follow its growth, the others the models they read."""
        nodes = dbt_resource_props.get("depends_on", {}).get("nodes", [])
        return ON_NEW_ROWS if any(node.startswith("source.") for node in nodes) else WITH_WHAT_IT_READS


def source_tables() -> Iterator[tuple[dg.AssetKey, str, str]]:
    """Key, table name and description of each dbt source."""
    for source in manifest()["sources"].values():
        yield dg.AssetKey(source["meta"]["dagster"]["asset_key"]), source["name"], source["description"]


def exposed_pages() -> Iterator[dg.AssetSpec]:
    """Each exposure as an asset downstream of the models its page shows."""
    translator = Translator()
    for exposure in manifest()["exposures"].values():
        yield dg.AssetSpec(
            key=dg.AssetKey(["dashboard", exposure["name"]]),
            deps=[_key(translator, node) for node in _shows(exposure)],
            description=exposure["description"],
            group_name="dashboard",
            kinds={"dash"},
            metadata={"page": dg.MetadataValue.url(_url(exposure))},
        )


def _shows(exposure: Mapping[str, Any]) -> list[str]:
    nodes: list[str] = exposure["depends_on"]["nodes"]
    return nodes


def _url(exposure: Mapping[str, Any]) -> str:
    """Of the page where the dashboard is; dbt's documentation knows the usual port."""
    return page_url(settings(), urlsplit(exposure["url"]).path)


def _key(translator: Translator, node: str) -> dg.AssetKey:
    source = manifest()["sources"].get(node)
    if source is not None:
        return dg.AssetKey(source["meta"]["dagster"]["asset_key"])
    return translator.get_asset_spec(manifest(), node, None).key
