"""Models are built by themselves (`orchestration.automation`); the job is for building them now."""

import dagster as dg

from orchestration.defs.performance.assets import dbt_models

performance_job = dg.define_asset_job(
    "performance_job",
    selection=dg.AssetSelection.assets(dbt_models),
    description="Build and test every dbt model.",
)
