"""The archive of each day, at 02:15 UTC: late trades of the day have arrived by then."""

import dagster as dg

from config.settings import settings
from orchestration.days import day_before
from orchestration.defs.market_data.partitions import SYMBOLS

archive_job = dg.define_asset_job(
    "archive_job", selection=["raw_trade_archive"], description="Write chosen days of raw trades to the lake."
)


@dg.schedule(cron_schedule="15 2 * * *", job=archive_job, default_status=dg.DefaultScheduleStatus.STOPPED)
def archive_of_yesterday(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """A run a symbol whose trades are kept, for the day that ended. Stopped until someone wants the lake to
    grow by itself."""
    day = day_before(context.scheduled_execution_time).isoformat()
    return [
        dg.RunRequest(
            run_key=f"{day}-{symbol}", partition_key=dg.MultiPartitionKey({"date": day, "symbol": symbol})
        )
        for symbol in SYMBOLS.get_partition_keys()
        if symbol not in settings().unkept_symbols
    ]
