"""Watching the daemon from outside, and telling the dashboard what failed here."""

import json

import dagster as dg

from orchestration.defs.live.assets import REPORTED
from orchestration.resources import warehouse_url

EVERY_SECONDS = 60
REPORT_SECONDS = 300
"""A materialisation a table at most this often: 8 tables × 288 a day."""


@dg.sensor(minimum_interval_seconds=EVERY_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
def daemon_heartbeat(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Report each of the daemon's tables that grew, with its newest row; the cursor keeps what was said. Rows
    of the future, which an import may have brought, neither count nor hide those that come. Dagster has a
    heartbeat of its own by this, so that others see when it is gone."""
    from pipelines.clock import SystemClock
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.health import beat
    from pipelines.warehouse.inventory import heartbeat_age_s, table_states
    from pipelines.warehouse.retention import present_ms

    connections = engine(warehouse_url())
    beat(connections, "dagster", SystemClock().now_ms(), None, {"every_s": EVERY_SECONDS})
    age = heartbeat_age_s(connections, "live")
    if age is None or age > REPORT_SECONDS:
        return dg.SkipReason(
            "no heartbeat of the daemon yet" if age is None else f"last heartbeat {age:.0f} s ago"
        )
    now_ms = present_ms(connections, SystemClock().now_ms())
    reported = {table: min(newest, now_ms) for table, newest in json.loads(context.cursor or "{}").items()}
    grown = [
        state
        for state in table_states(connections, REPORTED, now_ms)
        if state.newest_ms is not None
        and state.newest_ms >= reported.get(state.table, 0) + REPORT_SECONDS * 1000
    ]
    if not grown:
        return dg.SkipReason(f"the daemon lives (heartbeat {age:.0f} s ago); nothing to report yet")
    return dg.SensorResult(
        asset_events=[
            dg.AssetMaterialization(
                asset_key=["public", state.table],
                metadata={
                    "newest": dg.MetadataValue.timestamp((state.newest_ms or 0) / 1000),
                    "dagster/row_count": state.rows_estimate,
                    "heartbeat_age_s": round(age, 1),
                },
            )
            for state in grown
        ],
        cursor=json.dumps(reported | {state.table: state.newest_ms for state in grown}),
    )


@dg.run_failure_sensor(name="failures_to_events", default_status=dg.DefaultSensorStatus.RUNNING)
def failures_to_events(context: dg.RunFailureSensorContext) -> None:
    """Each failed run as a row of system_events, where the dashboard and the notifications look."""
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.health import record_event

    run = context.dagster_run
    record_event(
        engine(warehouse_url()),
        "error",
        "dagster",
        "run_failed",
        f"{run.job_name}: {context.failure_event.message}",
        {"run_id": run.run_id, "job": run.job_name, "tags": dict(run.tags)},
    )
