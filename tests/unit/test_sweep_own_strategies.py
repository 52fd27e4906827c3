"""Sweeps of strategies of one's own that trade a crossing: their rows are the single backtests."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OWN = '''
"""Crossings of two lines, and more."""
from strategies.base import VectorStrategy
from strategies.conditions import crosses_above, crosses_below
from strategies.indicators.averages import ema, sma
from strategies.parameters import Parameters, parameter

class Periods(Parameters):
    """Of the two lines."""
    fast: int = parameter(5, "Fast line", low=2, high=500)
    slow: int = parameter(20, "Slow line", low=2, high=500)

class Third(VectorStrategy[Periods]):
    """A third line, that no condition looks at."""
    line = staticmethod(ema)
    def indicators(self):
        own = self.parameters
        return {"first": self.line(own.fast), "second": self.line(own.slow), "trend": ema(400)}
    def buy(self):
        return crosses_above("first", "second")
    def sell(self):
        return crosses_below("first", "second")

class ThirdComputed(Third):
    """Of lines that the kernel does not run itself."""
    line = staticmethod(sma)

class LooksBack(Third):
    """Two lines, and a longer look-back."""
    lookback = 300
    def indicators(self):
        own = self.parameters
        return {"first": self.line(own.fast), "second": self.line(own.slow)}

class Wider(LooksBack):
    """Two lines, and a warm-up of its own that its parameters say."""
    @property
    def warmup(self):
        return 700 + 10 * self.parameters.fast

class Higher(LooksBack):
    """Lines of five-minute candles."""
    def indicators(self):
        own = self.parameters
        return {"first": sma(own.fast).on("5m"), "second": sma(own.slow).on("5m")}
'''
RUN = """
import json, sys
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from strategies.sample import sample_candles

candles, found = sample_candles(3_000), {}
for name in sys.argv[1:]:
    market = {"strategy": name, "symbol": "BTC-USDT", "timeframe": "1m"}
    grid = {"fast": [5, 6, 7, 8, 9], "slow": [20, 25, 30, 35, 40]}
    pairs = found[name] = []
    for row in execute_sweep(SweepRequest(grid=grid, **market), candles=candles).to_dicts():
        single = BacktestRequest(parameters={"fast": row["fast"], "slow": row["slow"]}, **market)
        pairs.append([row, execute(single, candles=candles, save=False).metrics])
json.dump(found, sys.stdout)
"""
STRATEGIES = ("third", "third_computed", "looks_back", "wider", "higher")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[dict[str, Any], dict[str, Any]]]]:
    """Of each strategy, the rows of a sweep, and the metrics of their backtests."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    env = os.environ | {"TCP_STRATEGIES_DIR": str(folder)}
    command = [sys.executable, "-c", RUN, *STRATEGIES]
    done = subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2], env=env)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", STRATEGIES)
def test_rows_are_backtests(name: str, rows: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]]) -> None:
    """Whatever a strategy has besides its two lines: none trades before its warm-up in a sweep, either."""
    assert len(rows[name]) == 25
    assert all(row["trades"] for row, _ in rows[name])
    for row, metrics in rows[name]:
        assert row["error"] is None
        for metric, value in metrics.items():
            assert row[metric] == pytest.approx(value, rel=1e-9, abs=1e-9), (row["fast"], row["slow"], metric)
