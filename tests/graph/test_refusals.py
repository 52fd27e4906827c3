"""What cannot be fetched fails its run at once, with the reason."""

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import serve
from pipelines.warehouse.database import engine
from tests.graph.outside import run_beside

pytestmark = pytest.mark.servers

NOW_MS = int(datetime(2026, 9, 21, 12, tzinfo=UTC).timestamp() * 1000)
RUN = """
import json
import dagster as dg
from orchestration.defs.lake.bulk import bulk_trades
from orchestration.defs.market_data.assets import candle_backfill, trade_backfill
for asset in (candle_backfill, trade_backfill, bulk_trades):
    for day, symbol in (("2026-09-16", "GONE-USDT"), ("2026-09-23", "ETC-USDT")):
        key = dg.MultiPartitionKey({"date": day, "symbol": symbol})
        done = dg.materialize([asset], partition_key=key, raise_on_error=False)
        retried = sum(event.event_type_value == "STEP_UP_FOR_RETRY" for event in done.all_events)
        failure = done.failure_data_for_node(asset.op.name)
        print(json.dumps([done.success, retried, failure.user_failure_data.description]))
"""


async def test_a_delisted_symbol_and_a_day_to_come_are_refused(database_url, tmp_path):
    """Candles, trades and bulk files of a symbol that the exchange does not list any more, and of a day it
    has not reached: one line, no retry, no row."""
    sim = await serve(SimOptions(start_ms=NOW_MS, speed=0.000_001, rate_limit=0))
    out = await run_beside(
        RUN,
        TCP_HOME=tmp_path,
        TCP_DATABASE_URL=database_url,
        TCP_LAKE_URL=tmp_path / "lake",
        TCP_OKX_REST_URL=sim.rest_url,
        TCP_SYMBOLS="ETC-USDT,GONE-USDT",
    )
    await sim.close()
    ends = [json.loads(line) for line in out.splitlines()]
    assert [(success, retried) for success, retried, _ in ends] == [(False, 0)] * 6
    for number, (_, _, reason) in enumerate(ends):
        assert ("future" if number % 2 else "GONE-USDT") in reason, reason
    with engine(database_url).connect() as connection:
        rows = "SELECT (SELECT count(*) FROM market_data) + (SELECT count(*) FROM raw_trades)"
        assert connection.scalar(text(rows)) == 0
