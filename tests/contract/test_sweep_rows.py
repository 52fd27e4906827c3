"""Sweeps from and into a real PostgreSQL: rows as they come, runs that stop and go on, other exchanges."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import func, select

from core.errors import BadInput, Cancelled
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
from pipelines.warehouse.sweep_runs import cancel_sweep, mark_interrupted
from pipelines.warehouse.trials import read_trials
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
        import_candles(database_url, path, "elsewhere", symbol, "1m", now_ms=4_000_000_000_000)
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
    recorder = Recorder(stored, "one", request, space, [piece], most=100)
    table = Walker(space, request, piece, 0).table(np.arange(3)).with_row_index("n")
    failed = pl.when(pl.col("n") == 1).then(pl.lit("ValueError: no")).alias("error")
    for _ in range(2):
        recorder.chunk(0, table.with_columns(failed))
    rows = rows_of(stored, "one")
    assert [row.metrics.get("error") for row in rows] == [None, "ValueError: no", None]
    assert run_of(stored, "one").status == "running"
    recorder.close()
    assert mark_interrupted(engine(stored)) == ["one"]


KILLED = """
import json, os, signal, sys
from pathlib import Path
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import Sweep, run_sweep

sweep = Sweep(SweepRequest.read(json.loads(sys.argv[1])), sys.argv[2], state=Path(sys.argv[3]), chunk=7)
sweep.on_progress = lambda done, of: os.kill(os.getpid(), signal.SIGKILL) if done > 14 else None
run_sweep(sweep)
"""


def test_a_killed_sweep_is_interrupted_and_a_living_one_is_not(stored: str, tmp_path: Path) -> None:
    """The row of a sweep whose process was killed says interrupted and how it goes on, as soon as anyone
    looks; it is done when it was resumed. One that is being walked stays running, whoever looks."""
    state = tmp_path / "sweeps"
    command = [sys.executable, "-c", KILLED, json.dumps(VALUES), stored, str(state)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    with engine(stored).connect() as connection:
        (sweep_id, status) = connection.execute(
            select(tables.strategy_runs.c.id, tables.strategy_runs.c.status)
        ).one()
    assert status == "running"
    deadline = time.monotonic() + 20
    while not (marked := mark_interrupted(engine(stored))):  # the server ends a session after its client
        assert time.monotonic() < deadline
    assert marked == [sweep_id]
    run = run_of(stored, sweep_id)
    assert run.status == "interrupted"
    assert run.error.endswith(f"tcp sweep --resume {sweep_id}")
    assert mark_interrupted(engine(stored)) == []

    looks: list[tuple[list[str], str]] = []
    note = unfinished(sweep_id, state)
    again = Sweep(SweepRequest.read(note["request"] | {"end": note["end"]}), stored, state=state)
    again.resume = sweep_id
    again.on_progress = lambda done, of: looks.append(
        (mark_interrupted(engine(stored)), run_of(stored, sweep_id).status)
    )
    assert run_sweep(again).resumed == 1
    assert looks
    assert all(look == ([], "running") for look in looks)
    run = run_of(stored, sweep_id)
    assert (run.status, run.error) == ("done", None)


def test_a_cancelled_sweep_ends_with_its_chunk_and_goes_on(stored: str, tmp_path: Path) -> None:
    """Its row says who did it and how it goes on, and keeps what was done; asked again, nothing changes. One
    whose process died meanwhile is cancelled too."""
    state, database = tmp_path / "sweeps", engine(stored)
    first = Sweep(SweepRequest.read(VALUES), stored, state=state, chunk=7, sweep_id="one")
    asked: list[bool] = []

    def ask(done: int, of: int) -> None:
        if done > 9:  # behind the first chunk
            asked.append(cancel_sweep(database, "one", "on the Sweeps page"))

    first.on_progress = ask
    with pytest.raises(Cancelled, match=LINE):
        run_sweep(first)
    assert asked[0] and not any(asked[1:])
    run, rows = run_of(stored, "one"), rows_of(stored, "one")
    assert (run.status, run.error, run.finished_at is not None) == ("cancelled", LINE, True)
    kept = len(rows) // 7
    assert 1 <= kept <= 2
    assert not cancel_sweep(database, "one", "over the API")
    assert not cancel_sweep(database, "none", "over the API")

    note = unfinished("one", state)
    again = Sweep(SweepRequest.read(note["request"] | {"end": note["end"]}), stored, state=state)
    again.resume = "one"
    assert run_sweep(again).resumed == kept + 1, "the chunk that was not recorded is there too"
    assert (run_of(stored, "one").status, run_of(stored, "one").error) == ("done", None)
    assert not cancel_sweep(database, "one", "over the API")

    with database.begin() as connection:
        connection.execute(tables.strategy_runs.update().values(status="cancelling", error=LINE))
    assert mark_interrupted(database) == []
    assert (run_of(stored, "one").status, run_of(stored, "one").error) == ("cancelled", LINE)


LINE = "cancelled on the Sweeps page; it goes on with tcp sweep --resume one"


def test_two_processes_are_not_at_one_run(stored: str) -> None:
    """A second one under the same id is refused while the first lives."""
    request = SweepRequest.read(VALUES)

    def again(done: int, of: int) -> None:
        with pytest.raises(BadInput, match="one: another process is at the same sweep"):
            execute_sweep(request, stored, sweep_id="one")

    execute_sweep(request, stored, sweep_id="one", on_progress=again)


@pytest.mark.parametrize("sort", ["sharpe", "fees"])
def test_the_database_keeps_the_best_rows(stored: str, sort: str, tmp_path: Path) -> None:
    """Of a sweep larger than that it has the best rows in order, the file all of them; validation counts
    every combination, with the deviation of all their ratios."""
    values = VALUES | {"symbol": "BTC-USDT", "sort": sort}
    whole = execute_sweep(SweepRequest.read(values), stored, sweep_id="all")
    family = ("rsi_reversion", "BTC-USDT", "1m")
    counted = read_trials(engine(stored), *family, {})
    with engine(stored).begin() as connection:
        connection.execute(tables.strategy_runs.delete())
    sweep = Sweep(SweepRequest.read(values), stored, out=tmp_path / "x.parquet", chunk=4, top=5)
    sweep.sweep_id, seen = "best", list[int]()
    sweep.on_progress = lambda done, of: seen.append(len(rows_of(stored, "best")))
    run_sweep(sweep)
    assert pl.read_parquet(tmp_path / "x.parquet").equals(whole)
    rows = rows_of(stored, "best")
    assert [row.metrics[sort] for row in rows] == whole[sort].head(5).to_list()
    assert [row.parameters["period"] for row in rows] == whole["period"].head(5).to_list()
    assert 5 <= max(seen) < whole.height + (sort == "fees")  # which rise with the grid, so that all are best
    assert run_of(stored, "best").parameters["combinations"] == whole.height
    found = read_trials(engine(stored), *family, {})
    assert found == (counted[0], pytest.approx(counted[1]))
    run_sweep(Sweep(SweepRequest.read(values), stored, chunk=4, top=5))
    assert read_trials(engine(stored), *family, {}) == found  # the same once more is nothing new
