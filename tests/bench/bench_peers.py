"""Numbers and speed beside vectorbt (Rust engine) and backtesting.py, on the same candles in the same run.

Run with `make bench`, which makes the peers' environment, or `pytest tests/bench/bench_peers.py -s`. The
candles are the recorded BTC-USDT minutes; fees 0.1 %, filled at the close that gave the signal.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numba
import numpy as np
import polars as pl
import pytest

from pipelines.backtest.files import load_candles
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.backtest.warm import warm
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from strategies.sample import sample_candles

HERE = Path(__file__).parent / "peers"
PYTHON = Path(__file__).parents[2] / ".peers" / "bin" / "python"
GRID: dict[str, list[int | float]] = {
    "fast_period": list(range(5, 15)),
    "slow_period": list(range(20, 70, 5)),
}
PAIRS = [[fast, slow] for fast in GRID["fast_period"] for slow in GRID["slow_period"]]
FEE, CASH = 0.001, 10_000.0
MARKET: dict[str, Any] = {
    "strategy": "ema_crossover",
    "symbol": "BTC-USDT",
    "timeframe": "1m",
    "fill": "close",
    "fee": FEE,
    "cash": CASH,
}
CANDLES = int(os.environ.get("BENCH_CANDLES", "525600"))
TIMES = 200
"""As fast as vectorbt with its Rust engine."""
SINGLE = 3
"""Pairs that backtesting.py runs; it takes seconds for each."""


@pytest.fixture(scope="module")
def candles(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, Path]:
    if not PYTHON.exists():
        pytest.fail("the peers' environment is missing: run `make bench`")
    frame = load_candles(shared_data / "candles" / "BTCUSDT_1m.csv.gz", timestamps="open")
    path = tmp_path_factory.mktemp("peers") / "candles.parquet"
    frame.select("timestamp", "open", "high", "low", "close", "volume").write_parquet(path)
    return frame, path


def peer(script: str, path: Path, pairs: list[list[int]]) -> dict[str, Any]:
    """What the peer's script printed."""
    request = path.with_suffix(".json")
    request.write_text(json.dumps({"pairs": pairs, "fee": FEE, "cash": CASH}))
    done = subprocess.run(
        [PYTHON, "-W", "ignore", HERE / script, path, request], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return found


def bare_loop_s(frame: pl.DataFrame, pairs: list[list[int]]) -> float:
    """Comparing the same pairs of lines at every candle and counting, on all cores, and nothing else."""
    rows = sorted({period for pair in pairs for period in pair})
    values = np.empty((len(rows), frame.height))
    for n, period in enumerate(rows):
        values[n] = frame["close"].ewm_mean(span=period, adjust=False).to_numpy()
    place = {period: n for n, period in enumerate(rows)}
    chosen = np.array([[place[fast], place[slow]] for fast, slow in pairs])

    @numba.njit(parallel=True)
    def count(values, chosen):
        above = np.zeros(chosen.shape[0], np.int64)
        for c in numba.prange(chosen.shape[0]):
            one, two = values[chosen[c, 0]], values[chosen[c, 1]]
            found = 0
            for t in range(one.size):
                found += one[t] > two[t]
            above[c] = found
        return above

    count(values[:, :100], chosen)
    return best(lambda: count(values, chosen))


def best(action: Any, times: int = 5) -> float:
    """The shortest of several runs, in seconds: others use this machine too."""
    took = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        took.append(time.perf_counter() - started)
    return min(took)


@pytest.mark.real_data
def test_a_sweep_equals_vectorbts_and_takes_a_fraction_of_its_time(candles, tell):
    frame, path = candles
    theirs = peer("vectorbt_sweep.py", path, PAIRS)
    warm()
    request = SweepRequest(grid=GRID, **MARKET)
    table = execute_sweep(request, candles=frame).sort("fast_period", "slow_period")
    ours_s = best(lambda: execute_sweep(request, candles=frame))
    bare_s = bare_loop_s(frame, PAIRS)
    worst = {}
    for metric in ("total_return", "max_drawdown", "trades", "win_rate", "fees", "sharpe_bar"):
        ours, other = table[metric].to_numpy().astype(float), np.array(theirs[metric], float)
        worst[metric] = float(np.max(np.abs(ours - other) / np.maximum(1, np.abs(other))))
    size = f"{len(PAIRS)} EMA crossovers on {frame.height} candles"
    tell(
        f"{size}: largest difference from vectorbt {theirs['version']} (Rust): "
        f"{', '.join(f'{name} {value:.1e}' for name, value in worst.items())}",
        "vectorbt-equal",
    )
    tell(
        f"{size}: vectorbt {theirs['took_s']:.2f} s, here {ours_s * 1000:.1f} ms: "
        f"{theirs['took_s'] / ours_s:.0f} times",
        "vectorbt-times",
    )
    tell(
        f"{size}: bare compare and count {bare_s * 1000:.1f} ms, a sweep is {ours_s / bare_s:.1f} times "
        f"that; it books {table['trades'].sum():,} round trips",
        "bare-loop",
        case="few",
    )
    assert max(worst.values()) < 1e-9
    assert theirs["took_s"] / ours_s > TIMES


def test_a_year_of_ten_thousand_pairs_beside_a_bare_loop(tell):
    """How many times as long a whole sweep of the largest size takes as comparing its lines and counting.
    Issue 4 asks for 2: what keeps it from that are the round trips, so it is printed, not asserted."""
    frame = sample_candles(CANDLES)
    grid = {"fast_period": list(range(5, 105)), "slow_period": list(range(110, 510, 4))}
    request = SweepRequest(grid=grid, **MARKET)
    warm()
    execute_sweep(request, candles=frame.head(5_000))
    trips = execute_sweep(request, candles=frame)["trades"].sum()
    ours_s = best(lambda: execute_sweep(request, candles=frame), times=2)
    pairs = [[fast, slow] for fast in grid["fast_period"] for slow in grid["slow_period"]]
    bare_s = bare_loop_s(frame, pairs)
    tell(
        f"{len(pairs):,} pairs on {frame.height:,} candles: "
        f"{ours_s:.2f} s, bare compare and count {bare_s:.2f} s: {ours_s / bare_s:.1f} times; "
        f"{trips:,} round trips, {ours_s / trips * 1e9:.0f} ns for each",
        "bare-loop",
        case="a year",
    )


def apart(ours: pl.DataFrame, theirs: pl.DataFrame) -> float:
    """The largest difference of two lists of closed trades: prices and coins as fractions of themselves, fees
    and profit of the cash. The times must be the same."""
    ours = ours.filter(pl.col("exit_reason") != "end")
    names = {"entry_time": "EntryTime", "exit_time": "ExitTime"}
    for name, other in names.items():
        assert ours[name].str.to_datetime(time_unit="ms").dt.epoch("ms").to_list() == theirs[other].to_list()
    names = {"entry_price": "EntryPrice", "exit_price": "ExitPrice", "quantity": "Size"}
    found = [(ours[name] / theirs[other] - 1).abs().max() for name, other in names.items()]
    names = {"fees": "Commission", "pnl": "PnL"}
    found += [(ours[name] - theirs[other]).abs().max() / CASH for name, other in names.items()]
    return max(found)


@pytest.mark.real_data
def test_single_runs_equal_backtesting_py(candles, tell):
    frame, path = candles
    theirs = peer("backtesting_run.py", path, PAIRS[:SINGLE])
    largest, ours_s = 0.0, 0.0
    for (fast, slow), run in zip(PAIRS, theirs["runs"], strict=False):
        request = BacktestRequest(parameters={"fast_period": fast, "slow_period": slow}, **MARKET)
        started = time.perf_counter()
        document = execute(request, candles=frame, save=False).to_document()
        ours_s += time.perf_counter() - started
        metrics = document["metrics"]
        assert metrics["closed_trades"] == run["closed_trades"]
        for ours, other in (
            (document["final_value"] / CASH, run["final_value"] / CASH),
            (metrics["total_return"], run["total_return"]),
            (metrics["max_drawdown"], run["max_drawdown"]),
            (metrics["win_rate"], run["win_rate"]),
        ):
            largest = max(largest, abs(ours - other))
        largest = max(largest, apart(pl.DataFrame(document["trades"]), pl.DataFrame(run["trades"])))
    tell(
        f"backtesting.py: largest difference {largest:.1e}; {theirs['took_s']:.2f} s a run, here "
        f"{ours_s / SINGLE * 1000:.0f} ms: {theirs['took_s'] * SINGLE / ours_s:.0f} times",
        "backtesting-equal",
    )
    assert largest < 1e-9
