"""Runs that ended, sweep files that are new, and sweeps whose process has gone."""

import json
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from config.settings import settings
from orchestration.defs.backtests.schedules import sweep_job
from orchestration.resources import page_url, warehouse_url
from orchestration.sweeps import changed_ns, sweep_versions

if TYPE_CHECKING:
    from pipelines.warehouse.finished_runs import FinishedRun

ROWS_OF = {"sweep": "sweep_results", "walk_forward": "walk_forward_windows"}
"""Where runs of a kind keep rows besides strategy_runs."""
PAGES = {"sweep": "/sweeps?sweep=", "backtest": "/backtests?run=", "walk_forward": "/compare?of="}
"""Where the dashboard shows a run of a kind."""


@dg.sensor(minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def interrupted_sweeps(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Say of sweeps that nobody walks any more that they are interrupted, and tell the dashboard how each
    goes on."""
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.health import record_event
    from pipelines.warehouse.sweep_runs import mark_interrupted

    connections = engine(warehouse_url())
    found = mark_interrupted(connections)
    for sweep_id in found:
        said = f"sweep {sweep_id} was interrupted: its process ended; see its row of strategy_runs"
        record_event(connections, "warning", "dagster", "sweep_interrupted", said, {"sweep_id": sweep_id})
    return dg.SkipReason(f"{len(found)} interrupted sweeps found")


@dg.sensor(minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def finished_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Report the tables of runs when a backtest, sweep or walk-forward is done, wherever it was started: the
    models of runs are built then. The cursor is when the last one ended."""
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.finished_runs import finished_since

    after = datetime.fromisoformat(context.cursor) if context.cursor else None
    found = finished_since(engine(warehouse_url()), after)
    if not found:
        return dg.SkipReason("no run has ended since")
    events = [_materialization("strategy_runs", found)]
    for kind, table in ROWS_OF.items():
        own = [run for run in found if run.kind == kind]
        events += [_materialization(table, own)] if own else []
    return dg.SensorResult(asset_events=events, cursor=found[-1].finished_at.isoformat())


def _materialization(table: str, runs: "list[FinishedRun]") -> dg.AssetMaterialization:
    newest = runs[-1]
    page = PAGES[newest.kind]
    return dg.AssetMaterialization(
        asset_key=["public", table],
        metadata={
            "runs": len(runs),
            "newest": f"{newest.kind} of {newest.strategy} on {newest.symbol}",
            "page": dg.MetadataValue.url(page_url(settings(), page + newest.id)),
            **{
                name: value
                for name, value in (("total_return", newest.total_return), ("sharpe", newest.sharpe))
                if value is not None
            },
        },
    )


@dg.sensor(job=sweep_job, minimum_interval_seconds=60, default_status=dg.DefaultSensorStatus.RUNNING)
def new_sweep_files(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Run a sweep when its file of config/sweeps is new or changed, be it back to what it was. Files that
    were there before are left to the night; a file that makes no sense fails its run with the reason."""
    versions = sweep_versions(settings().config_dir)
    known = None if context.cursor is None else json.loads(context.cursor)
    new = [] if known is None else [name for name, version in versions.items() if known.get(name) != version]
    if not new and known == versions:
        return dg.SkipReason(f"{len(versions)} files, none of them new")
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"{name}-{versions[name]}-{changed_ns(settings().config_dir, name)}",
                run_config={"ops": {"sweeps": {"config": {"file": name}}}},
                tags={"sweep_file": name},
            )
            for name in new
        ],
        cursor=json.dumps(versions),
    )
