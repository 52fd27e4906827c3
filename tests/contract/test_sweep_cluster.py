"""Sweeps on a real Dask cluster, started with dask's own commands."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cli.stack.ports import free_port
from core.errors import BadInput, Unavailable
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import Sweep, execute_sweep, run_sweep
from strategies.sample import sample_candles
from tests.cluster import DaskCluster, dask_cluster

pytestmark = pytest.mark.timeout(300)

VALUES = {
    "strategy": "rsi_reversion",
    "symbol": "BTC-USDT,ETH-USDT",
    "timeframe": "1m",
    "grid": {"period": "5:34:1", "oversold": "20:35:5", "stop_loss": "none,0.01"},
}


def candles(market: SweepRequest) -> pl.DataFrame:
    """Different candles for each symbol."""
    return sample_candles(4_000, seed=len(market.symbol) + ord(market.symbol[0]))


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[DaskCluster]:
    """A scheduler and two workers."""
    with dask_cluster(free_port(), tmp_path_factory.mktemp("dask"), workers=2) as running:
        yield running


def on(cluster: DaskCluster, out: Path | None = None, **values: Any) -> Sweep:
    """A sweep on the cluster."""
    request = SweepRequest.read(VALUES | values)
    return Sweep(request, candles=candles, scheduler=cluster.address, out=out, chunk=10)


@pytest.mark.parametrize("search", [{}, {"search": "optuna", "trials": 60}], ids=["grid", "optuna"])
def test_a_cluster_gives_the_rows_of_this_machine(
    cluster: DaskCluster, tmp_path: Path, search: dict[str, Any]
) -> None:
    """Every value and the order are the same, in memory and in the file."""
    here = execute_sweep(SweepRequest.read(VALUES | search), candles=candles)
    run_sweep(on(cluster, tmp_path / "there.parquet", **search))
    assert pl.read_parquet(tmp_path / "there.parquet").equals(here)


def test_a_lost_worker_costs_nothing(cluster: DaskCluster, tmp_path: Path) -> None:
    """A worker is killed in the middle: every row comes, once, as if nothing had happened."""
    doomed = cluster.add_worker()
    here = execute_sweep(SweepRequest.read(VALUES), candles=candles)
    sweep = on(cluster, tmp_path / "there.parquet")
    killed: list[int] = []

    def kill(done: int, of: int) -> None:
        if not killed and done > of // 4:
            doomed.kill()
            killed.append(done)

    sweep.on_progress = kill
    outcome = run_sweep(sweep)
    assert killed
    assert killed[0] < outcome.rows
    assert pl.read_parquet(tmp_path / "there.parquet").equals(here)


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        ("127.0.0.1:PORT", Unavailable, "no scheduler answers"),
        ("nowhere", BadInput, "HOST:PORT"),
        ("127.0.0.1:99999", BadInput, "HOST:PORT"),
    ],
)
def test_a_scheduler_that_is_not_there_is_one_error(
    unused_port: int, address: str, kind: type[Exception], said: str
) -> None:
    """The error comes within seconds and names the address, before any candle is read."""

    def unread(market: SweepRequest) -> pl.DataFrame:
        raise AssertionError("candles were read")

    address = address.replace("PORT", str(unused_port)) if "127" in address else address
    began = time.monotonic()
    with pytest.raises(kind, match=said):
        run_sweep(Sweep(SweepRequest.read(VALUES), candles=unread, scheduler=address))
    assert time.monotonic() - began < 8


def test_a_scheduler_without_workers_is_one_error(tmp_path: Path, unused_port: int) -> None:
    """A cluster that has nobody to work says so within seconds."""
    with (
        dask_cluster(unused_port, tmp_path, workers=0) as empty,
        pytest.raises(Unavailable, match="no workers; start one"),
    ):
        run_sweep(Sweep(SweepRequest.read(VALUES), candles=candles, scheduler=empty.address))
