"""Everything Dagster knows, put together here and nowhere else. Loads without a database."""

import dagster as dg
from dagster_dbt import DbtCliResource

from orchestration.automation import automation
from orchestration.dbt_command import PROJECT, dbt_executable
from orchestration.defs.backtests.assets import backtest, sweeps, walk_forward
from orchestration.defs.backtests.schedules import (
    backtest_job,
    sweep_job,
    sweeps_at_night,
    walk_forward_job,
    walk_forward_on_sundays,
)
from orchestration.defs.backtests.sensors import finished_runs, interrupted_sweeps, new_sweep_files
from orchestration.defs.lake.assets import raw_trade_archive
from orchestration.defs.lake.bulk import bulk_trades
from orchestration.defs.lake.schedules import archive_job, archive_of_yesterday
from orchestration.defs.live.assets import live_tables
from orchestration.defs.live.checks import source_freshness
from orchestration.defs.live.sensors import daemon_heartbeat, failures_to_events
from orchestration.defs.market_data.assets import candle_backfill, trade_backfill
from orchestration.defs.market_data.checks import last_whole_day_is_sound
from orchestration.defs.market_data.schedules import candle_backfill_job
from orchestration.defs.operations.assets import base_backup, database_backup
from orchestration.defs.operations.retention import old_data, run_history
from orchestration.defs.operations.schedules import (
    backup_at_night,
    backup_job,
    base_backup_job,
    base_backup_on_sundays,
    retention_at_night,
    retention_job,
)
from orchestration.defs.parity.assets import bot_parity
from orchestration.defs.parity.schedules import parity_at_night, parity_job
from orchestration.defs.performance.assets import dashboard_pages, dbt_models
from orchestration.defs.performance.checks import dbt_and_python_agree
from orchestration.defs.performance.schedules import performance_job

defs = dg.Definitions(
    assets=[
        candle_backfill,
        trade_backfill,
        bulk_trades,
        raw_trade_archive,
        backtest,
        sweeps,
        walk_forward,
        bot_parity,
        database_backup,
        base_backup,
        old_data,
        run_history,
        dbt_models,
        *live_tables,
        *dashboard_pages,
    ],
    asset_checks=[dbt_and_python_agree, last_whole_day_is_sound, source_freshness],
    jobs=[
        candle_backfill_job,
        archive_job,
        backtest_job,
        sweep_job,
        walk_forward_job,
        parity_job,
        performance_job,
        backup_job,
        base_backup_job,
        retention_job,
    ],
    schedules=[
        archive_of_yesterday,
        sweeps_at_night,
        walk_forward_on_sundays,
        parity_at_night,
        backup_at_night,
        base_backup_on_sundays,
        retention_at_night,
    ],
    sensors=[
        automation,
        daemon_heartbeat,
        failures_to_events,
        finished_runs,
        interrupted_sweeps,
        new_sweep_files,
    ],
    resources={
        "dbt": DbtCliResource(
            project_dir=str(PROJECT), profiles_dir=str(PROJECT), dbt_executable=dbt_executable()
        )
    },
    # A run has one step that waits for a server: a process for each step would double its start.
    executor=dg.in_process_executor,
)
