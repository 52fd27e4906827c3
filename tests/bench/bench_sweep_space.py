"""What a combination costs beside its candles, and that memory stays where it is however many there are.

Run it with `pytest tests/bench/bench_sweep_space.py -s`. BENCH_COMBINATIONS (default 300000) is the largest
grid.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MOST = int(os.environ.get("BENCH_COMBINATIONS", "300000"))
SCRIPT = """
import resource, sys, time
from pathlib import Path
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import Sweep, run_sweep
from strategies.sample import sample_candles

grid = {"fast_period": "2:101:1", "slow_period": f"102:{101 + int(sys.argv[2]) // 100}:1"}
values = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "1m", "grid": grid}
sweep = Sweep(SweepRequest.read(values), candles=sample_candles(6_000), out=Path(sys.argv[1]))
began = time.perf_counter()
rows = run_sweep(sweep).rows
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(rows, (time.perf_counter() - began) / rows * 1e6, peak)
"""


def test_memory_of_a_sweep_to_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Peak memory of 6,000 candles and ever more combinations, chunks and the sort of the file included."""
    with capsys.disabled():
        print("\n  combinations   µs each   peak MB")  # noqa: T201 a benchmark prints
        for combinations in (MOST // 15, MOST // 3, MOST):
            command = [sys.executable, "-c", SCRIPT, str(tmp_path / "x.parquet"), str(combinations)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows, each, peak = (float(part) for part in done.stdout.split())
            print(f"{rows:14,.0f} {each:9.1f} {peak:9.0f}")  # noqa: T201
            assert rows == combinations
    assert peak < 800
