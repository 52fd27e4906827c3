"""Whole sweeps: searches, markets, exits, rows that fail, and going on after a kill."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from core.errors import BadInput
from core.metrics import METRICS
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import Sweep, execute_sweep, run_sweep
from pipelines.sweep.search import GridSearch
from pipelines.sweep.space import Space
from pipelines.sweep.state import discard, left_in
from strategies.sample import sample_candles

CANDLES = sample_candles(3_000)
MARKET = {"symbol": "BTC-USDT", "timeframe": "1m"}


def request(strategy: str = "ema_crossover", **values: Any) -> SweepRequest:
    """A request of one market."""
    return SweepRequest.read(MARKET | {"strategy": strategy} | values)


def of_market(market: SweepRequest) -> pl.DataFrame:
    """Different candles for each market."""
    return sample_candles(3_000, market.timeframe, seed=len(market.symbol) + len(market.timeframe))


@pytest.mark.parametrize("search", ["random", "optuna"])
def test_a_seed_draws_the_same_combinations(search: str) -> None:
    """The same seed gives the same rows, another one others; each combination is drawn once."""
    values = {"search": search, "trials": 70, "grid": {"fast_period": "2:40:1", "slow_period": "5:80:1"}}
    one, same, other = (execute_sweep(request(seed=seed, **values), candles=CANDLES) for seed in (1, 1, 2))
    assert one.equals(same)
    pairs, others = (set(t.select("fast_period", "slow_period").iter_rows()) for t in (one, other))
    assert len(pairs) == one.height == 70
    assert pairs != others
    assert all(fast < slow for fast, slow in pairs)


@pytest.mark.parametrize("search", ["random", "optuna"])
def test_a_small_space_is_drawn_whole(search: str) -> None:
    """More trials than combinations are all of them, once each."""
    values = {"grid": {"fast_period": "2:6:1", "slow_period": "5:8:1"}}
    everything = execute_sweep(request(**values), candles=CANDLES)
    drawn = execute_sweep(request(search=search, trials=100, **values), candles=CANDLES)
    order = ["fast_period", "slow_period"]
    assert drawn.sort(order).equals(everything.sort(order))


def test_optuna_walks_nothing_twice() -> None:
    """In a small space it draws again what it has seen: its rows are different ones, and few are missing."""
    values = {"grid": {"fast_period": "2:7:1", "slow_period": "8:15:1"}}
    found = execute_sweep(request(search="optuna", trials=47, **values), candles=CANDLES)
    assert found.select("fast_period", "slow_period").is_unique().all()
    assert 40 <= found.height <= 47


def test_optuna_finds_better_ones_than_chance() -> None:
    """With as many trials, what was learned is on average worth more than what was drawn evenly."""
    values = {"grid": {"fast_period": "2:100:1", "slow_period": "5:500:1"}, "sort": "total_return"}
    found = {
        search: execute_sweep(request(search=search, trials=160, **values), candles=CANDLES)
        for search in ("random", "optuna")
    }
    means = {search: float(np.mean(table["total_return"].to_numpy())) for search, table in found.items()}
    assert means["optuna"] > means["random"]


def test_optuna_minimises_what_is_better_low() -> None:
    """For fees the best is the least."""
    values = {"grid": {"fast_period": "2:100:1", "slow_period": "5:500:1"}, "sort": "fees"}
    table = execute_sweep(request(search="optuna", trials=96, **values), candles=CANDLES)
    chance = execute_sweep(request(search="random", trials=96, **values), candles=CANDLES)
    assert table["fees"].is_sorted()
    assert table["fees"].mean() < chance["fees"].mean()  # type: ignore[operator]


def test_markets_stand_side_by_side() -> None:
    """Every combination on every symbol and timeframe; a row is that of the sweep of its market alone, and
    candles are read once each."""
    read: list[tuple[str, str]] = []

    def reading(market: SweepRequest) -> pl.DataFrame:
        read.append((market.symbol, market.timeframe))
        return of_market(market)

    values = {"grid": {"fast_period": "5,9", "slow_period": "20,30"}}
    both = request(symbol=["BTC-USDT", "SOLO-USDT"], timeframe="1m,15m", **values)
    table = execute_sweep(both, candles=reading)
    assert read == [(s, t) for s in ("BTC-USDT", "SOLO-USDT") for t in ("1m", "15m")]
    assert table.height == 16
    assert table["sharpe"].is_sorted(descending=True, nulls_last=True)
    for (symbol, timeframe), rows in table.group_by("symbol", "timeframe"):
        alone = request(symbol=symbol, timeframe=timeframe, **values)
        assert rows.sort("sharpe", descending=True).equals(execute_sweep(alone, candles=of_market))


def test_exits_vary_like_parameters() -> None:
    """A row with an exit is the single backtest with that exit, one with none the backtest without."""
    grid = {"fast_period": [5, 9], "stop_loss": [None, 0.004], "max_candles": "none,15"}
    table = execute_sweep(request(grid=grid, risk={"take_profit": 0.02}), candles=CANDLES)
    plain = execute_sweep(request(grid=grid), candles=CANDLES)
    assert table.height == plain.height == 8
    for rows, common in ((table, {"take_profit": 0.02}), (plain, {})):
        for row in rows.iter_rows(named=True):
            exits = {name: row[name] for name in ("stop_loss", "max_candles") if row[name] is not None}
            single = BacktestRequest.read(
                MARKET
                | {"strategy": "ema_crossover", "parameters": {"fast_period": row["fast_period"]}}
                | {"risk": common | exits or None}
            )
            metrics = execute(single, candles=CANDLES).metrics
            for metric in METRICS:
                assert row[metric] == pytest.approx(metrics[metric], rel=1e-9, abs=1e-9), (exits, metric)


FAILING = '''
"""Breaks in three ways."""
import polars as pl
from strategies.base import VectorStrategy
from strategies.indicators.averages import sma
from strategies.parameters import Parameters, parameter

class FragileParameters(Parameters):
    """Which way."""
    way: int = parameter(0, "0 works", low=0, high=9)

class Fragile(VectorStrategy[FragileParameters]):
    """Raises, or returns the wrong length."""
    def indicators(self):
        if self.parameters.way == 3:
            raise RuntimeError("no indicators")
        return {"line": sma(5)}
    def buy(self):
        if self.parameters.way == 1:
            return 1 / 0
        if self.parameters.way == 2:
            return pl.col("close").head(7) > 0
        if self.parameters.way == 4:
            return pl.col("nowhere") > 0
        if self.parameters.way == 6:
            return pl.col("close") - pl.col("line")
        if self.parameters.way == 7:
            raise SystemExit(3)
        return pl.col("close") > pl.col("line")
    def sell(self):
        return pl.col("close") < pl.col("line")
'''


def test_a_failing_combination_is_a_row_with_its_error(tmp_path: Path) -> None:
    """A strategy that raises or returns the wrong length for some parameters loses only their rows."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "fragile.py").write_text(FAILING)
    CANDLES.write_parquet(tmp_path / "candles.parquet")
    tcp = [str(Path(sys.executable).with_name("tcp")), "sweep", "--strategy", "fragile"]
    tcp += ["--candles", "candles.parquet", "--out", "out.parquet", "--json", "--grid"]
    env = os.environ | {"TCP_STRATEGIES_DIR": str(tmp_path / "mine")}
    done = subprocess.run([*tcp, "way=0:7:1"], capture_output=True, cwd=tmp_path, env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(done.stdout)
    assert (document["combinations"], document["failed"], len(document["errors"])) == (8, 6, 3)
    table = pl.read_parquet(tmp_path / "out.parquet")
    errors = dict(table.sort("way").select("way", "error").iter_rows())
    assert [way for way, error in errors.items() if error is None] == [0, 5]
    assert table["error"].is_null()[:2].all()  # the best are on top
    failed = table.filter(pl.col("error").is_not_null())
    assert failed.select(METRICS).null_count().row(0) == (6,) * len(METRICS)
    for way, said in (
        (1, "ZeroDivisionError"),
        (2, "ShapeError"),
        (3, "no indicators"),
        (4, "nowhere"),
        (7, "SystemExit: 3"),
    ):
        assert said in errors[way]
    assert errors[6] == "strategy fragile: buy is Float64: a condition, true or false, is needed"
    command = [*tcp, "way=1,2,3,4,6,7", "--stop-loss", "0.01"]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=env)
    assert done.returncode == 1
    assert done.stderr.startswith(
        b"tcp: every combination failed, the first with strategy fragile: it failed"
    )
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["error"].to_list() == [errors[way] for way in (1, 2, 3, 4, 6, 7)]


def test_what_the_strategy_refuses_is_dropped_and_counted() -> None:
    """A combination that the strategy's own rules refuse is no row; the number dropped is told."""
    grid = {"trend_timeframe": "5m,15m,1h", "fast_period": "3,12"}
    outcome = run_sweep(
        Sweep(request("trend_filter", timeframe="15m", grid=grid), candles=sample_candles(9_000, "15m"))
    )
    assert (outcome.rows, outcome.dropped, outcome.failed) == (2, 4, 0)


GRID = {"period": "5:30:1", "oversold": "20:35:5"}
KILLED = """
import json, os, signal, sys
from pathlib import Path
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import Sweep, run_sweep
from strategies.sample import sample_candles

values, out, chunks = json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
def die(done, of):
    if len(list(out.parent.glob(".*.parts/*.parquet"))) >= chunks:
        os.kill(os.getpid(), signal.SIGKILL)
sweep = Sweep(SweepRequest.read(values), candles=sample_candles(3_000), out=out, chunk=6, on_progress=die)
run_sweep(sweep)
"""


@pytest.mark.parametrize("search", [{}, {"search": "optuna", "trials": 70}], ids=["grid", "optuna"])
def test_a_killed_sweep_goes_on(tmp_path: Path, search: dict[str, Any]) -> None:
    """Killed twice with SIGKILL, the third run walks only what is missing; the file is that of an undisturbed
    run, and nothing else is left."""
    values = MARKET | {"strategy": "rsi_reversion", "grid": GRID} | search
    undisturbed = execute_sweep(SweepRequest.read(values), candles=CANDLES)
    out = tmp_path / "sweep.parquet"
    command = [sys.executable, "-c", KILLED, json.dumps(values), str(out)]
    for chunks in ("1", "2"):
        assert subprocess.run([*command, chunks]).returncode == -signal.SIGKILL
        assert not out.exists()
    last = Sweep(SweepRequest.read(values), candles=CANDLES, out=out, chunk=6)
    assert run_sweep(last).resumed == 2
    assert pl.read_parquet(out).equals(undisturbed)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.parquet"]


def test_other_candles_are_another_sweep(tmp_path: Path) -> None:
    """What is left of a sweep is used for the same request and candles only."""
    out = tmp_path / "sweep.parquet"

    def stopped(done: int, of: int) -> None:
        raise KeyboardInterrupt

    def sweep(candles: pl.DataFrame, **values: Any) -> Sweep:
        return Sweep(request("rsi_reversion", grid=GRID, **values), candles=candles, out=out, chunk=6)

    first = sweep(CANDLES)
    first.on_progress = lambda done, of: stopped(done, of) if done > 6 else None
    with pytest.raises(KeyboardInterrupt):
        run_sweep(first)
    same = CANDLES.clone()
    changed = CANDLES.with_columns(pl.col("volume") + 1)
    assert run_sweep(sweep(changed)).resumed == 0
    assert run_sweep(sweep(CANDLES, fee=0.002)).resumed == 0
    assert run_sweep(sweep(same)).resumed == 1


def test_two_processes_are_not_at_one_sweep(tmp_path: Path) -> None:
    """The second one is refused; when the first is over, it would begin anew."""
    values = request("rsi_reversion", grid=GRID)

    def again(done: int, of: int) -> None:
        with pytest.raises(BadInput, match="another process is at the same sweep"):
            run_sweep(Sweep(values, candles=CANDLES, out=tmp_path / "x.parquet"))

    sweep = Sweep(values, candles=CANDLES, out=tmp_path / "x.parquet", chunk=60, on_progress=again)
    assert run_sweep(sweep).rows == 104


def test_what_is_unfinished_is_listed_and_discarded(tmp_path: Path) -> None:
    """A stopped sweep is known by its id, what it has done goes when that is asked, and not while it runs."""
    values = request("rsi_reversion", grid=GRID)

    def stopped(done: int, of: int) -> None:
        if done > 6:
            with pytest.raises(BadInput, match="mine: another process is at the same sweep"):
                discard("mine", tmp_path)
            raise KeyboardInterrupt

    sweep = Sweep(values, candles=CANDLES, state=tmp_path, chunk=6, sweep_id="mine", on_progress=stopped)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep)
    assert run_sweep(Sweep(values, candles=CANDLES.tail(900), state=tmp_path)).rows == 104
    (left,) = left_in(tmp_path)
    assert (left["id"], left["strategy"], left["chunks"]) == ("mine", "rsi_reversion", 1)
    with pytest.raises(BadInput, match="unfinished are mine"):
        discard("yours", tmp_path)
    assert discard("mine", tmp_path) == ["mine"]
    assert (left_in(tmp_path), discard("all", tmp_path), list(tmp_path.iterdir())) == ([], [], [])


def test_a_sweep_that_goes_on_under_another_name_is_refused(tmp_path: Path) -> None:
    """--resume of changed candles is an error, not a sweep from the start."""
    sweep = Sweep(request("rsi_reversion", grid=GRID), candles=CANDLES, out=tmp_path / "x.parquet")
    sweep.resume = "x.parquet"
    with pytest.raises(BadInput, match=r"--resume: x\.parquet"):
        run_sweep(sweep)


def test_memory_and_file_have_the_same_rows(tmp_path: Path) -> None:
    """Ties, nulls and all: the order in the file is the order in memory, whatever the chunks."""
    values = {"grid": {"fast_period": "2:9:1", "slow_period": "900:2900:500"}, "sort": "win_rate"}
    kept = execute_sweep(request(**values), candles=CANDLES)
    for chunk in (3, 11, 500):
        out = tmp_path / f"{chunk}.parquet"
        run_sweep(Sweep(request(**values), candles=CANDLES, out=out, chunk=chunk))
        assert pl.read_parquet(out).equals(kept)
    best = run_sweep(Sweep(request(**values), candles=CANDLES, most=4, chunk=3))
    assert best.best.equals(kept.head(4))
    assert best.rows == kept.height


FULL = """
import json, resource, signal, sys
from pathlib import Path
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import Sweep, run_sweep
from strategies.sample import sample_candles
from core.errors import TcpError

sweep = Sweep(SweepRequest.read(json.loads(sys.argv[3])), candles=sample_candles(500), out=Path(sys.argv[1]),
    chunk=100)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    run_sweep(sweep)
except TcpError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [3_000, 60_000])
def test_a_full_disk_is_one_error_and_loses_nothing(tmp_path: Path, limit: int) -> None:
    """Where a chunk or the result does not fit, the target is absent, the error names it, and the same
    command goes on when there is room."""
    out = tmp_path / "sweep.parquet"
    values = {"grid": {"fast_period": "2:40:1", "slow_period": "50:150:1"}}
    asked = json.dumps(MARKET | {"strategy": "ema_crossover"} | values)
    command = [sys.executable, "-c", FULL, str(out), str(limit), asked]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("--out: "), done
    assert "same command again" in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
    assert not out.exists()
    assert not list(tmp_path.glob(".*/*.part"))
    again = run_sweep(Sweep(request(**values), candles=sample_candles(500), out=out, chunk=100))
    assert again.rows == pl.read_parquet(out).height == 39 * 101
    assert again.resumed == (40 if limit > 10_000 else 0)


def test_ten_million_combinations_are_handed_out_in_little_memory() -> None:
    """A grid is numbered block by block: what is in memory does not grow with it."""
    import tracemalloc

    peaks = []
    for size in (10**5, 10**6, 10**7):
        grid = {"period": "2:1001:1", "deviations": f"0.1:{0.1 + (size // 1000 - 1) / 10_000:.4f}:0.0001"}
        space = Space(request("bollinger_reversion", grid=grid, where=["period % 3 == 0"]))
        tracemalloc.start()
        search = GridSearch(space, 1, 20_000)
        (chunks,) = search.rounds()
        covered = valid = 0
        for chunk in chunks:
            covered, valid = covered + chunk.covers, valid + chunk.points.size
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert covered == space.size == size
        assert valid + search.dropped == covered
    assert peaks[2] < 1.2 * peaks[1] < 40_000_000
