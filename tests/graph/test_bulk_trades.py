"""Days of trades through Dagster: proven ones are written, damaged and missing ones fail their check."""

import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from aiohttp import web

from core.trades import Side, Trade
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import serve
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import beat
from pipelines.warehouse.trades import copy_trades
from tests.bulk_files import cdn_before
from tests.graph.outside import run_beside

pytestmark = pytest.mark.servers

NOW_MS = int(datetime(2026, 9, 21, 12, tzinfo=UTC).timestamp() * 1000)
# The simulated exchange trades this symbol rarely, so its days are small.
RUN = """
import os
from pathlib import Path
import dagster as dg
from orchestration.defs.lake.bulk import BulkConfig, bulk_trades
from orchestration.defs.lake.assets import raw_trade_archive
from orchestration.defs.market_data.assets import candle_backfill, trade_backfill

def run(asset, day, repair=False):
    key = dg.MultiPartitionKey({"date": day, "symbol": "ETC-USDT"})
    config = dg.RunConfig({"bulk_trades": BulkConfig(repair=True)}) if repair else None
    done = dg.materialize([asset], partition_key=key, run_config=config, raise_on_error=False)
    checks = {check.check_name: check for check in done.get_asset_check_evaluations()}
    files, days = checks["files_hold_what_the_manifest_says"], checks["no_day_is_missing"]
    (made,) = done.asset_materializations_for_node(asset.op.name)
    said = [made.metadata[name].value for name in ("days_written", "not_there_yet") if name in made.metadata]
    found, lost = files.metadata["findings"].value, days.metadata["days"].value
    print(day, files.passed, *said, found, days.passed or days.severity.name, lost)

for asset, day in (
    (bulk_trades, "2026-09-16"), (bulk_trades, "2026-09-20"), (bulk_trades, "2026-09-18"),
    (bulk_trades, "2026-09-13"), (raw_trade_archive, "2026-09-16"), (raw_trade_archive, "2026-09-17"),
    (raw_trade_archive, "2026-09-21"),
):
    run(asset, day)
key = dg.MultiPartitionKey({"date": "2026-09-21", "symbol": "ETC-USDT"})
done = dg.materialize([candle_backfill], partition_key=key)
(days,) = [c for c in done.get_asset_check_evaluations() if c.check_name == "days_have_their_rows"]
print(days.passed, days.severity.name, days.metadata["rows"].value, days.metadata["days_not_over"].value)
done = dg.materialize([trade_backfill], partition_key=key)
(trades,) = done.get_asset_check_evaluations()
print(trades.passed, trades.severity.name, trades.metadata["days_not_over"].value)
(file,) = Path(os.environ["TCP_LAKE_URL"]).rglob("*2026-09-16*/*.parquet")
file.write_bytes(b"PAR1 broken")
run(bulk_trades, "2026-09-16")
run(bulk_trades, "2026-09-16", repair=True)
"""


async def test_days_are_written_pending_or_damaged(database_url, tmp_path):
    """A day of the past is written and proven, the day before is not there yet and says so in a warning, a
    file that is no zip fails the blocking check by name; days of which the exchange has no file, or nobody
    any trade, fail theirs; trades and candles of a day that is not over are stored, with a warning. A file
    that was there before and is damaged fails too, until it is repaired."""
    sim = await serve(SimOptions(start_ms=NOW_MS, speed=0.000_001, rate_limit=0, activity=0.2))
    beat(engine(database_url), "collector", time.time_ns() // 1_000_000, NOW_MS, {})
    with engine(database_url).begin() as connection:
        copy_trades(connection, [Trade("ETC-USDT", 1, NOW_MS - 1, Decimal(20), Decimal(1), Side.BUY)])
    async with cdn_before(sim.rest_url) as cdn:
        cdn.spoiled["ETC-USDT-trades-2026-09-18.zip"] = lambda body: body[:-30]
        for lost in ("13", "14"):
            cdn.spoiled[f"ETC-USDT-trades-2026-09-{lost}.zip"] = lambda _: web.Response(status=404)
        out = await run_beside(
            RUN,
            TCP_HOME=tmp_path,
            TCP_DATABASE_URL=database_url,
            TCP_LAKE_URL=tmp_path / "lake",
            TCP_OKX_REST_URL=cdn.url,
            TCP_SYMBOLS="ETC-USDT",
        )
    await sim.close()
    lines = out.strip().splitlines()
    written, pending, damaged, missing, archived, empty, begun, candles, trades, spoiled, repaired = lines
    assert written == "2026-09-16 True 1 [] [] True []"
    assert pending == "2026-09-20 True 0 ['ETC-USDT 2026-09-20'] [] WARN ['ETC-USDT 2026-09-20']"
    assert damaged.startswith("2026-09-18 False 0 [] ['") and "not a whole zip" in damaged
    assert missing == "2026-09-13 True 0 [] [] ERROR ['ETC-USDT 2026-09-13']"
    assert archived == "2026-09-16 True [] True []"
    assert empty == "2026-09-17 True [] ERROR ['ETC-USDT 2026-09-17']"
    assert begun == "2026-09-21 True [] WARN ['ETC-USDT 2026-09-21']"
    assert candles == "False WARN 720 ['ETC-USDT 2026-09-21']"
    assert trades == "False WARN ['ETC-USDT 2026-09-21']"
    assert spoiled.startswith("2026-09-16 False 0 [] ['damaged: ")
    assert repaired == "2026-09-16 True 1 [] [] True []"
