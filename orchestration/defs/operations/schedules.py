"""A backup every night, a base backup every Sunday where WAL is archived, and what is too old goes."""

import dagster as dg

from config.settings import settings

backup_job = dg.define_asset_job(
    "backup_job", selection=["database_backup"], description="Back the database up, and try the backup."
)
base_backup_job = dg.define_asset_job(
    "base_backup_job", selection=["base_backup"], description="Copy the server's files for `tcp db recover`."
)
retention_job = dg.define_asset_job(
    "retention_job",
    selection=["old_data", "run_history"],
    description="Remove what is past the days that the settings give it, and old runs of Dagster.",
)

backup_at_night = dg.ScheduleDefinition(
    name="backup_at_night",
    job=backup_job,
    cron_schedule="30 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
base_backup_on_sundays = dg.ScheduleDefinition(
    name="base_backup_on_sundays",
    job=base_backup_job,
    cron_schedule="50 3 * * 0",
    default_status=dg.DefaultScheduleStatus.RUNNING
    if settings().wal_archive is not None
    else dg.DefaultScheduleStatus.STOPPED,
)
retention_at_night = dg.ScheduleDefinition(
    name="retention_at_night",
    job=retention_job,
    cron_schedule="50 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
