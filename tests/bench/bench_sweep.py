"""Sweep speed: time and memory a candle and combination, three sizes each way (compared by `bench_growth`).

Run it with `pytest tests/bench/bench_sweep.py -s`. BENCH_CANDLES (default 525600, a year of minutes) is the
longest history.
"""

import os
import resource
import time
from typing import Any

import pytest

from pipelines.backtest.warm import warm
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from strategies.sample import sample_candles
from tests.bench.figures import Tell

CANDLES = int(os.environ.get("BENCH_CANDLES", "525600"))
GRIDS = {
    100: ("5:14:1", "30:120:10"),
    1_000: ("5:24:1", "30:128:2"),
    10_000: ("5:104:1", "110:506:4"),
}


def measure(candles: int, combinations: int) -> tuple[float, float]:
    """(wall, processor) nanoseconds a candle and combination, everything counted."""
    fast, slow = GRIDS[combinations]
    frame = sample_candles(candles)
    grid: dict[str, Any] = {"fast_period": fast, "slow_period": slow}
    request = SweepRequest(strategy="ema_crossover", symbol="BTC-USDT", timeframe="1m", grid=grid)
    wall, processor = time.perf_counter(), time.process_time()
    table = execute_sweep(request, candles=frame)
    unit = 1e9 / candles / table.height
    assert table.height == combinations
    return (time.perf_counter() - wall) * unit, (time.process_time() - processor) * unit


def test_sweep_speed(capsys: pytest.CaptureFixture[str], tell: Tell) -> None:
    """Under 1.0 ns of wall time a candle and combination on the largest grid, indicators and metrics counted,
    in less than 1.5 GB."""
    warm()
    measure(CANDLES // 20, 100)  # loads the compiled code
    with capsys.disabled():
        print("\n  candles  combinations   wall ns   cpu ns   peak GB")  # noqa: T201 a benchmark prints
        for candles in (CANDLES // 8, CANDLES // 2, CANDLES):
            for combinations in GRIDS:
                wall, processor = measure(candles, combinations)
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
                print(f"{candles:9,} {combinations:13,} {wall:9.2f} {processor:8.2f} {peak:9.2f}")  # noqa: T201
    assert (candles, combinations) == (CANDLES, max(GRIDS))
    tell(
        f"{combinations:,} combinations of {candles:,} candles: {wall:.2f} ns wall, {processor:.2f} ns of "
        f"processor, {peak:.2f} GB",
        "sweep-year",
    )
    assert wall < 1.0
    assert peak < 1.5
