"""How a sweep grows: time with candles and combinations, memory with combinations, at three sizes each.

Run it with `pytest tests/bench/bench_growth.py -s`. Each size is a process of its own, so that none has
another's memory. Time is the processor's, because others use this machine too, and counts as linear where a
candle and combination at four times the size takes at most `LINEAR` times what it took. Memory counts as flat
where all that is added to the peak of the fewest combinations is the buffer of the final sort, which has a
bound of its own (`merge.MEMORY`, 256 MB).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.figures import Tell

LINEAR, SORT_MB = 1.3, 270
CANDLES = (131_400, 262_800, 525_600)
COMBINATIONS = (2_500, 5_000, 10_000)
ROWS = (20_000, 100_000, 300_000)
REPEATS = 3
"""The shortest counts."""
SCRIPT = """
import json, resource, sys, time
from pathlib import Path
from pipelines.backtest.warm import warm
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import Sweep, run_sweep
from strategies.sample import sample_candles

candles, combinations, repeats, out = *map(int, sys.argv[1:4]), Path(sys.argv[4])
grid = {"fast_period": "5:104:1", "slow_period": f"110:{109 + combinations // 100}:1"}
values = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m", "grid": grid}
warm()
frame, took = sample_candles(candles), []
for _ in range(repeats):
    began, worked = time.perf_counter(), time.process_time()
    rows = run_sweep(Sweep(SweepRequest.read(values), candles=frame, out=out)).rows
    took.append((time.process_time() - worked, time.perf_counter() - began))
assert rows == combinations
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
processor, wall = min(took)
print(json.dumps({"processor_s": processor, "wall_s": wall, "peak_mb": peak}))
"""


def measured(candles: int, combinations: int, out: Path, repeats: int = REPEATS) -> dict[str, float]:
    """processor_s, wall_s and peak_mb of a sweep to a file, everything counted."""
    command = [sys.executable, "-c", SCRIPT, str(candles), str(combinations), str(repeats), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_time_is_linear(capsys: pytest.CaptureFixture[str], tmp_path: Path, tell: Tell) -> None:
    """A candle and combination costs no more in a sweep of four times the candles, or the combinations."""
    sizes = [(candles, COMBINATIONS[-1]) for candles in CANDLES]
    sizes += [(CANDLES[-1], combinations) for combinations in COMBINATIONS]
    cost = {}
    with capsys.disabled():
        print(f"\n  candles  combinations   processor s   wall s   ns each   (load {os.getloadavg()[0]:.1f})")  # noqa: T201 a benchmark prints
        for candles, combinations in dict.fromkeys(sizes):
            found = measured(candles, combinations, tmp_path / "x.parquet")
            each = cost[candles, combinations] = found["processor_s"] / candles / combinations * 1e9
            took = f"{found['processor_s']:13.2f} {found['wall_s']:8.2f} {each:9.3f}"
            print(f"{candles:9,} {combinations:13,} {took}")  # noqa: T201
    by_candles = cost[CANDLES[-1], COMBINATIONS[-1]] / cost[CANDLES[0], COMBINATIONS[-1]]
    by_combinations = cost[CANDLES[-1], COMBINATIONS[-1]] / cost[CANDLES[-1], COMBINATIONS[0]]
    each_ns = ", ".join(
        f"{candles:,} x {combinations:,}: {ns:.2f}" for (candles, combinations), ns in cost.items()
    )
    tell(
        f"candles x combinations, ns of processor each: {each_ns}; "
        f"at 4 times the candles {by_candles:.2f}, the combinations {by_combinations:.2f} of the cost",
        "linear-time",
    )
    assert by_candles < LINEAR
    assert by_combinations < LINEAR


def test_memory_is_flat(capsys: pytest.CaptureFixture[str], tmp_path: Path, tell: Tell) -> None:
    """Fifteen times the combinations take no more memory but for the buffer that sorts the file."""
    peaks = []
    with capsys.disabled():
        print("\n  combinations   µs each   peak MB")  # noqa: T201
        for combinations in ROWS:
            found = measured(6_000, combinations, tmp_path / "x.parquet", repeats=1)
            peaks.append(found["peak_mb"])
            print(f"{combinations:14,} {found['wall_s'] / combinations * 1e6:9.1f} {peaks[-1]:9.0f}")  # noqa: T201
    sizes = ", ".join(f"{rows:,}: {peak:.0f}" for rows, peak in zip(ROWS, peaks, strict=True))
    tell(f"combinations, MB: {sizes}", "flat-memory")
    assert max(peaks) < peaks[0] + SORT_MB
