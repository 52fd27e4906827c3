"""Sweeps at night, when the day's candles are complete; walk-forwards on Sundays."""

import dagster as dg

backtest_job = dg.define_asset_job("backtest_job", selection=["backtest"], description="Run one backtest.")
sweep_job = dg.define_asset_job(
    "sweep_job", selection=["sweeps"], description="Run the sweeps of config/sweeps."
)

sweeps_at_night = dg.ScheduleDefinition(
    name="sweeps_at_night",
    job=sweep_job,
    cron_schedule="30 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

walk_forward_job = dg.define_asset_job(
    "walk_forward_job", selection=["walk_forward"], description="Walk the sweeps of config/sweeps forward."
)

walk_forward_on_sundays = dg.ScheduleDefinition(
    name="walk_forward_on_sundays",
    job=walk_forward_job,
    cron_schedule="0 5 * * 0",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
