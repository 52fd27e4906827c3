"""Sweeps of Dagster on a Dask cluster."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from cli.stack.ports import free_port
from pipelines.warehouse.database import engine
from tests.cluster import dask_cluster
from tests.graph.outside import run_outside

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

CANDLES = """
    INSERT INTO market_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume, source)
    SELECT 'okx', 'BTC-USDT', '1m', timestamptz '2026-03-01' + n * interval '1 minute', p, p + 1, p - 1, p, 1,
           'trades'
    FROM generate_series(1, 600) AS n, LATERAL (SELECT 100 + abs(n % 80 - 40) AS p) AS prices
"""
RUN = """
import json, sys
import dagster as dg
from orchestration.defs.backtests.assets import sweeps
for scheduler in sys.argv[1:]:
    config = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m", "scheduler": scheduler,
              "grid": {"fast_period": [3, 5, 8], "slow_period": "12:20:4"}}
    done = dg.materialize(
        [sweeps], run_config={"ops": {"sweeps": {"config": config}}}, raise_on_error=False
    )
    if done.success:
        (made,) = done.asset_materializations_for_node("sweeps")
        print(json.dumps([made.metadata["dagster/row_count"].value, made.metadata["failed"].value]))
    else:
        error = done.failure_data_for_node("sweeps").error
        print(json.dumps((error.cause or error).message))
"""


def test_workers_walk_the_sweep(database_url: str, tmp_path: Path, unused_port: int):
    """A launch that names a scheduler stores every combination, walked by the cluster's worker; one that
    names a scheduler nobody runs fails with its address."""
    with engine(database_url).begin() as connection:
        connection.execute(text(CANDLES))
    with dask_cluster(unused_port, tmp_path, workers=1) as cluster:
        nobody = f"127.0.0.1:{free_port()}"
        settings = {"TCP_HOME": tmp_path, "TCP_DATABASE_URL": database_url}
        said = run_outside("-c", RUN, cluster.address, nobody, **settings)
    walked, refused = (json.loads(line) for line in said.strip().splitlines())
    assert walked == [9, 0]
    assert nobody in refused
    with engine(database_url).connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM sweep_results")) == 9
