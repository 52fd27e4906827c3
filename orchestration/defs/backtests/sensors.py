"""Sweeps whose process has gone."""

import dagster as dg

from orchestration.resources import warehouse_url


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
