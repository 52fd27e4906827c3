"""The archive of each day, at 02:15 UTC: late trades of the day have arrived by then."""

from datetime import timedelta

import dagster as dg

from config.settings import settings
from orchestration.days import day_before
from orchestration.defs.market_data.partitions import SYMBOLS
from orchestration.resources import warehouse_url

CATCH_UP = timedelta(days=31)

archive_job = dg.define_asset_job(
    "archive_job", selection=["raw_trade_archive"], description="Write chosen days of raw trades to the lake."
)


@dg.schedule(
    cron_schedule="15 2 * * *",
    job=archive_job,
    default_status=dg.DefaultScheduleStatus.RUNNING
    if settings().raw_trades_days is not None
    else dg.DefaultScheduleStatus.STOPPED,
)
def archive_of_yesterday(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """A run a symbol whose trades are kept, for the day that ended, and one for each stored day of the month
    before that is not in the lake: a night that failed or was missed is made up for. Stopped until someone
    wants the lake to grow by itself, or days to leave PostgreSQL (TCP_RAW_TRADES_DAYS), by way of it."""
    from pipelines.lake.archive import days_to_archive

    yesterday = day_before(context.scheduled_execution_time)
    symbols = [name for name in SYMBOLS.get_partition_keys() if name not in settings().unkept_symbols]
    late = days_to_archive(warehouse_url(), yesterday - CATCH_UP, yesterday - timedelta(days=1))
    wanted = [*((name, yesterday) for name in symbols), *(each for each in late if each[0] in symbols)]
    return [
        dg.RunRequest(
            run_key=f"{yesterday}-{day}-{symbol}",  # of each night: a failed run has its key, too
            partition_key=dg.MultiPartitionKey({"date": day.isoformat(), "symbol": symbol}),
        )
        for symbol, day in wanted
    ]
