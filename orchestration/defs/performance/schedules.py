"""How fresh the marts are."""

import dagster as dg

from orchestration.defs.performance.assets import dbt_models

performance_job = dg.define_asset_job(
    "performance_job",
    selection=dg.AssetSelection.assets(dbt_models),
    description="Build and test every dbt model.",
)

performance_every_quarter_hour = dg.ScheduleDefinition(
    name="performance_every_quarter_hour",
    job=performance_job,
    cron_schedule="*/15 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
