"""Bulk files through Dagster: a launch writes proven days, and a damaged file fails its check."""

import asyncio
import os
import sys
from datetime import UTC, datetime

import pytest

from config.settings import PROJECT_ROOT
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import serve
from tests.bulk_files import cdn_before

pytestmark = pytest.mark.servers

NOW_MS = int(datetime(2026, 9, 21, 12, tzinfo=UTC).timestamp() * 1000)
# The simulated exchange trades this symbol rarely, so its days are small.
RUN = """
import dagster as dg
from orchestration.defs.lake.bulk import bulk_trades
for day in ("2026-09-16", "2026-09-20", "2026-09-18"):
    key = dg.MultiPartitionKey({"date": day, "symbol": "ETC-USDT"})
    done = dg.materialize([bulk_trades], partition_key=key, raise_on_error=False)
    (check,) = done.get_asset_check_evaluations()
    (made,) = done.asset_materializations_for_node("bulk_trades")
    said = made.metadata
    found = check.metadata["findings"].value
    print(day, check.passed, said["days_written"].value, said["not_there_yet"].value, found)
"""


async def test_days_are_written_pending_or_damaged(database_url, tmp_path):
    """A day of the past is written and proven, the day before is not there yet, a file that is no zip fails
    the blocking check by name."""
    sim = await serve(SimOptions(start_ms=NOW_MS, speed=0.000_001, rate_limit=0, activity=0.2))
    async with cdn_before(sim.rest_url) as cdn:
        cdn.spoiled["ETC-USDT-trades-2026-09-18.zip"] = lambda body: body[:-30]
        outer = {
            name: value for name, value in os.environ.items() if not name.startswith(("TCP_", "DAGSTER_"))
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore", "-c", RUN),
            cwd=PROJECT_ROOT,
            env={
                **outer,
                "TCP_HOME": str(tmp_path),
                "TCP_DATABASE_URL": database_url,
                "TCP_LAKE_URL": str(tmp_path / "lake"),
                "TCP_OKX_REST_URL": cdn.url,
                "TCP_SYMBOLS": "ETC-USDT",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    await sim.close()
    assert process.returncode == 0, err.decode()
    written, pending, damaged = out.decode().strip().splitlines()
    assert written == "2026-09-16 True 1 [] []"
    assert pending == "2026-09-20 True 0 ['ETC-USDT 2026-09-20'] []"
    assert damaged.startswith("2026-09-18 False 0 [] ['") and "not a whole zip" in damaged
