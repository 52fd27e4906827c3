"""Sweeps from and into a real PostgreSQL: rows as they come, runs that stop and go on, other exchanges."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import func, select

from core.errors import BadInput
from pipelines.backfill.imports import import_candles
from pipelines.backtest.candles import stretch
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import Sweep, execute_sweep, run_sweep
from pipelines.sweep.space import Space
from pipelines.sweep.state import unfinished
from pipelines.sweep.store import Recorder
from pipelines.sweep.walker import Walker
from pipelines.warehouse import tables
from pipelines.warehouse.database import engine
from strategies.sample import sample_candles

VALUES: dict[str, Any] = {
    "strategy": "rsi_reversion",
    "symbol": "BTC-USDT,ETH-USDT",
    "timeframe": "1m",
    "exchange": "elsewhere",
    "grid": {"period": "5:14:1", "oversold": "20,30"},
    "where": ["period != 9"],
}


@pytest.fixture
def stored(database_url: str, tmp_path: Path) -> str:
    """A database with a thousand minutes of two symbols of another exchange."""
    for seed, symbol in enumerate(("BTC-USDT", "ETH-USDT")):
        path = tmp_path / f"{symbol}.parquet"
        sample_candles(1_000, seed=seed).write_parquet(path)
        import_candles(database_url, path, "elsewhere", symbol, "1m")
        path.unlink()
    return database_url


def rows_of(url: str, sweep_id: str) -> list[Any]:
    """The stored rows of a sweep, in their order."""
    query = select(tables.sweep_results).where(tables.sweep_results.c.sweep_id == sweep_id)
    with engine(url).connect() as connection:
        return list(connection.execute(query.order_by("n")))


def run_of(url: str, sweep_id: str) -> Any:
    """The stored run of a sweep."""
    with engine(url).connect() as connection:
        return connection.execute(
            select(tables.strategy_runs).where(tables.strategy_runs.c.id == sweep_id)
        ).one()


class Stop(Exception):
    """Something that no one expects."""


def test_a_stopped_sweep_goes_on_and_has_each_row_once(stored: str, tmp_path: Path) -> None:
    """Rows come chunk by chunk; stopped in the middle, the run is failed and keeps them; it goes on under its
    id with what is missing, and ends with every row once, best first."""
    request, state = SweepRequest.read(VALUES), tmp_path / "sweeps"
    first = Sweep(request, stored, state=state, chunk=7)

    def stop(done: int, of: int) -> None:
        if done > 14:
            raise Stop("out of order")

    first.on_progress = stop
    with pytest.raises(Stop):
        run_sweep(first)
    with engine(stored).connect() as connection:
        (sweep_id,) = connection.execute(select(tables.strategy_runs.c.id)).one()
    run = run_of(stored, sweep_id)
    assert (run.status, run.error) == ("failed", "out of order")
    assert len(rows_of(stored, sweep_id)) == 7

    note = unfinished(sweep_id, state)
    again = Sweep(SweepRequest.read(note["request"] | {"end": note["end"]}), stored, state=state)
    again.resume = sweep_id
    outcome = run_sweep(again)
    assert (outcome.id, outcome.resumed, outcome.rows, outcome.dropped) == (sweep_id, 1, 36, 4)
    run, rows = run_of(stored, sweep_id), rows_of(stored, sweep_id)
    assert (run.status, run.error) == ("done", None)
    assert run.parameters["combinations"] == 36
    assert run.parameters["where"] == ["period != 9"]
    assert run.parameters["exchange"] == "elsewhere"
    whole = execute_sweep(request, stored)
    assert [(row.symbol, row.parameters["period"], row.parameters["oversold"]) for row in rows] == list(
        whole.select("symbol", "period", "oversold").iter_rows()
    )
    assert [row.metrics["sharpe"] for row in rows] == whole["sharpe"].to_list()
    assert list(state.iterdir()) == []
    with pytest.raises(BadInput, match="no unfinished sweep"):
        unfinished(sweep_id, state)


def test_other_exchanges_candles_are_found_by_name(stored: str) -> None:
    """Imported candles of another exchange are read where it is named, and only there."""
    values = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m"}
    given = execute(BacktestRequest(**values), candles=sample_candles(1_000, seed=0), save=False)
    found = execute(BacktestRequest(**values, exchange="elsewhere"), stored, save=False)
    assert found.metrics == given.metrics
    with pytest.raises(BadInput, match="candles: no candles: BTC-USDT 1m in the database"):
        execute(BacktestRequest(**values), stored, save=False)
    with pytest.raises(BadInput, match="nowhere BTC-USDT 1m in the database"):
        execute_sweep(SweepRequest(**values, exchange="nowhere", grid={"fast_period": "5,6"}), stored)
    with pytest.raises(BadInput, match="exchange"):
        BacktestRequest.read(values | {"exchange": "No Where"})
    with engine(stored).connect() as connection:
        assert connection.execute(select(func.count()).select_from(tables.strategy_runs)).scalar_one() == 0


def test_an_error_of_a_row_is_stored_with_it(stored: str) -> None:
    """A row that failed has its error beside its metrics; a chunk that comes twice is stored once."""
    request = SweepRequest.read(VALUES | {"symbol": "BTC-USDT", "where": []})
    space = Space(request)
    piece = stretch(request, *space.reach("1m"), stored, None)
    recorder = Recorder(stored, "one", request, space, [piece])
    table = Walker(space, request, piece, 0).table(np.arange(3)).with_row_index("n")
    failed = pl.when(pl.col("n") == 1).then(pl.lit("ValueError: no")).alias("error")
    for _ in range(2):
        recorder.chunk(0, table.with_columns(failed))
    rows = rows_of(stored, "one")
    assert [row.metrics.get("error") for row in rows] == [None, "ValueError: no", None]
    assert run_of(stored, "one").status == "running"
