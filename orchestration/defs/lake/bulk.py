"""OKX's daily files of trades into the lake."""

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from config.settings import settings
from orchestration.days import Stretch, stretches
from orchestration.defs.lake.checks import BULK_NO_DAY_MISSING, BULK_VERIFIED, none_missing, verified
from orchestration.defs.market_data.partitions import DAY_BY_SYMBOL, days_and_symbols
from orchestration.failures import OUTAGE_RETRIES, mistakes_fail_at_once
from orchestration.progress import told
from orchestration.resources import page_url, warehouse_url

if TYPE_CHECKING:
    from pipelines.backfill.bulk import BulkReport


class BulkConfig(dg.Config):
    """How to fetch; the days and symbols are the partitions."""

    repair: bool = Field(False, description="Fetch days again whose file in the lake is damaged")


@dg.asset(
    partitions_def=DAY_BY_SYMBOL,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[BULK_VERIFIED, BULK_NO_DAY_MISSING],
    group_name="lake",
    kinds={"python", "parquet"},
    pool="exchange",
    retry_policy=OUTAGE_RETRIES,
)
def bulk_trades(context: dg.AssetExecutionContext, config: BulkConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """A UTC day of a symbol's trades from the exchange's bulk files, verified; those of the last two days are
    not there yet, and a check says so."""
    asked = stretches(days_and_symbols(context))
    with mistakes_fail_at_once():
        database_url = warehouse_url()
        reports = [_fetch(context, stretch, config.repair) for stretch in asked]
    damaged = [name for report in reports for name in report.damaged]
    missing = [f"{report.symbol} {day}" for report in reports for day in report.missing]
    pending = [f"{report.symbol} {day}" for report in reports for day in report.pending]
    written = [(report.symbol, day) for report in reports for day in report.written]
    already = [(report.symbol, day) for report in reports for day in report.already]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(report.rows for report in reports),
            "bytes": sum(report.bytes for report in reports),
            "days_written": len(written),
            "page": dg.MetadataValue.url(page_url(settings(), "/data")),
            "days_there_before": len(already),
            "not_there_yet": pending,
            "missing_at_the_exchange": missing,
        },
        check_results=[
            verified(database_url, settings().lake_url, [*written, *already], BULK_VERIFIED, damaged),
            none_missing(missing, BULK_NO_DAY_MISSING, pending),
        ],
    )


def _fetch(context: dg.AssetExecutionContext, stretch: Stretch, repair: bool) -> "BulkReport":
    from pipelines.backfill.run import run_bulk_backfill

    return run_bulk_backfill(
        settings(), stretch.symbol, stretch.start_ms, stretch.end_ms, told(context, stretch.symbol), repair
    )
