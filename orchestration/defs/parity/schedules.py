"""Parity at night, after the day's revisions have come in: those of the last minutes take some seven."""

import dagster as dg

parity_job = dg.define_asset_job(
    "parity_job", selection=["bot_parity"], description="Replay every bot and compare it with what it stored."
)

parity_at_night = dg.ScheduleDefinition(
    name="parity_at_night",
    job=parity_job,
    cron_schedule="10 4 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
