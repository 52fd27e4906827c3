"""What is too old leaves PostgreSQL, of the platform and of Dagster itself."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from config.settings import settings
from orchestration.automation import FRESH_EVERY_NIGHT
from orchestration.failures import OUTAGE_RETRIES, mistakes_fail_at_once
from orchestration.resources import warehouse_url

PAGE = 500
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


class OldDataConfig(dg.Config):
    """How old is too old is said by TCP_RAW_TRADES_DAYS, TCP_BOT_DETAIL_DAYS and TCP_EVENTS_DAYS."""

    dry_run: bool = Field(False, description="Count only; remove nothing")


class RunHistoryConfig(dg.Config):
    """How much of its own past Dagster keeps."""

    days: int = Field(90, ge=1, description="Days after which runs that ended are forgotten, and their logs")


@dg.asset(
    deps=[dg.AssetKey("raw_trade_archive")],
    group_name="operations",
    kinds={"postgres"},
    freshness_policy=FRESH_EVERY_NIGHT,
    retry_policy=OUTAGE_RETRIES,
)
def old_data(config: OldDataConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Raw trades that the lake has, holds, snapshots between the hours and events, past the days that the
    settings give them. What is unset is kept."""
    from pipelines.clock import SystemClock
    from pipelines.retention import prune

    with mistakes_fail_at_once():
        given = settings().model_copy(update={"database_url": warehouse_url()})
        done = prune(given, SystemClock().now_ms(), config.dry_run)
    counts = {"signals": done.signals, "snapshots": done.snapshots, "events": done.events}
    return dg.MaterializeResult(
        metadata={
            "dry_run": config.dry_run,
            "raw_trades": sum(day.dropped for day in done.trades or []),
            "days_kept": {
                f"{day.symbol} {day.day}": day.kept_because for day in done.trades or [] if day.kept_because
            },
            **{name: count for name, count in counts.items() if count is not None},
        }
    )


@dg.asset(group_name="operations", kinds={"dagster"}, freshness_policy=FRESH_EVERY_NIGHT)
def run_history(context: dg.AssetExecutionContext, config: RunHistoryConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Runs that ended long ago leave Dagster's database, and their logs the disk: models alone make 96 a day.
    Runs of partitions stay, without logs, because they say which days are there."""
    before = datetime.now(UTC) - timedelta(days=config.days)
    forgotten = 0
    for run in list(_ended(context.instance, before)):
        context.instance.compute_log_manager.delete_logs(prefix=[run.run_id])
        if any("partition" in tag for tag in run.tags):
            continue
        context.instance.delete_run(run.run_id)
        forgotten += 1
    return dg.MaterializeResult(metadata={"forgotten": forgotten, "before": before.isoformat()})


def _ended(instance: dg.DagsterInstance, before: datetime) -> Iterator[dg.DagsterRun]:
    """Runs that were begun before a moment and have ended."""
    chosen = dg.RunsFilter(statuses=ENDED, created_before=before)
    cursor = None
    while page := instance.get_runs(filters=chosen, cursor=cursor, limit=PAGE):
        yield from page
        cursor = page[-1].run_id
