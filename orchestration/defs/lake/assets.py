"""Raw trades out of Postgres into Parquet."""

from datetime import date

import dagster as dg
from pydantic import Field

from config.settings import settings
from orchestration.defs.lake.checks import NO_DAY_MISSING, VERIFIED, none_missing, verified
from orchestration.defs.market_data.partitions import DAY_BY_SYMBOL, days_and_symbols
from orchestration.failures import OUTAGE_RETRIES, mistakes_fail_at_once
from orchestration.resources import page_url, warehouse_url


class ArchiveConfig(dg.Config):
    """How to archive; the days and symbols are the partitions."""

    drop: bool = Field(False, description="Delete the day from Postgres once its file is verified")


@dg.asset(
    deps=[dg.AssetKey(["public", "raw_trades"])],
    partitions_def=DAY_BY_SYMBOL,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[VERIFIED, NO_DAY_MISSING],
    group_name="lake",
    kinds={"python", "parquet"},
    retry_policy=OUTAGE_RETRIES,
)
def raw_trade_archive(context: dg.AssetExecutionContext, config: ArchiveConfig) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """A UTC day of raw_trades of a symbol as one verified, zstd-compressed Parquet file in the lake; of a day
    that is not over its beginning, and a check says so."""
    from pipelines.clock import SystemClock
    from pipelines.lake.archive import archive_raw_trades, check_over, is_over
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.health import exchange_ms

    lake_url = settings().lake_url
    days = [(keys["symbol"], date.fromisoformat(keys["date"])) for keys in days_and_symbols(context)]
    with mistakes_fail_at_once():
        database_url = warehouse_url()
        now_ms = exchange_ms(engine(database_url), SystemClock().now_ms())
        if config.drop:
            check_over({day for _, day in days}, now_ms)
        files = [
            archive_raw_trades(database_url, lake_url, symbol, day, drop=config.drop) for symbol, day in days
        ]
    unfinished = [f"{symbol} {day}" for symbol, day in days if not is_over(day, now_ms)]
    empty = [f"{symbol} {day}" for (symbol, day), file in zip(days, files, strict=True) if file.path is None]
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(file.rows for file in files),
            "bytes": sum(file.bytes for file in files),
            "files": [file.path for file in files if file.path is not None],
            "days_without_trades": len(empty),
            "days_not_over": unfinished,
            "page": dg.MetadataValue.url(page_url(settings(), "/data")),
        },
        check_results=[verified(database_url, lake_url, days), none_missing(empty, pending=unfinished)],
    )
