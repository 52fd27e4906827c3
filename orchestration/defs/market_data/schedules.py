"""When history is fetched without being asked: never here; the daemon refills its own holes.

The job makes the launchpad's entry point, with its config and partitions.
"""

import dagster as dg

candle_backfill_job = dg.define_asset_job(
    "candle_backfill_job",
    selection=["candle_backfill"],
    description="Fetch candles of chosen days and symbols.",
)
