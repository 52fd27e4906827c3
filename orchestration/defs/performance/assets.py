"""The dbt models, each an asset, each dbt test a check; and the dashboard's pages below them."""

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets
from pydantic import Field

from config.settings import settings
from orchestration.dbt_command import dbt_environment
from orchestration.dbt_definitions import rebuild_redefined
from orchestration.dbt_window import event_times
from orchestration.defs.performance.project import Translator, exposed_pages, manifest
from orchestration.resources import warehouse_url


class ModelsConfig(dg.Config):
    """How to build the models."""

    full_refresh: bool = Field(
        False, description="Build every day anew, not only those with rows that no build has seen"
    )


@dbt_assets(manifest=manifest(), dagster_dbt_translator=Translator(), name="dbt_models", pool="dbt")
def dbt_models(context: dg.AssetExecutionContext, dbt: DbtCliResource, config: ModelsConfig) -> Iterator[Any]:
    """`dbt build` of the selected models and their tests, into schemas staging, intermediate and marts."""
    home, database_url = settings().home.resolve(), warehouse_url()
    # The resource hands this process's environment to dbt; a run has a process of its own.
    os.environ.update(dbt_environment(home, database_url))
    if rebuilt := rebuild_redefined(home, database_url, config.full_refresh):
        context.log.info(f"built anew, since their definitions changed: {', '.join(rebuilt)}")
    # Unit tests judge the formulas, not the data: the test suite runs them, not every quarter of an hour.
    build = ["build", "--exclude-resource-type", "unit_test"]
    build += event_times(database_url, config.full_refresh)
    # One target folder for all runs: the pool keeps them apart, and the parse is reused.
    yield from (
        dbt.cli(build, context=context, target_path=home / "dbt" / "runs").stream().fetch_row_counts()
    )


dashboard_pages = list(exposed_pages())
