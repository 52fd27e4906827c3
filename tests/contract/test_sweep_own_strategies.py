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
import polars as pl
from strategies.base import VectorStrategy
from strategies.conditions import crosses_above, crosses_below
from strategies.indicators.averages import ema, sma
from strategies.indicators.base import indicator
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

def called_ema(origin):
    @indicator(warmup=lambda period, source="close", seed="first": period)
    def ema(period: int, source: str = "close", seed: str = "first") -> pl.Expr:
        return origin.rolling_mean(period)
    return ema

def simply_called_ema():
    @indicator(warmup=lambda period: period)
    def ema(period: int) -> pl.Expr:
        return pl.col("high").ewm_mean(span=period, adjust=False, min_samples=period)
    return ema

class OtherEma(LooksBack):
    """Lines that are called like the package's, of the same arguments."""
    lookback = 1
    line = staticmethod(called_ema(pl.col("open")))

class SimpleEma(OtherEma):
    """Of other arguments."""
    line = staticmethod(simply_called_ema())

class BothEmas(OtherEma):
    """One of its own and the package's, of the same length."""
    def indicators(self):
        period = self.parameters.fast + self.parameters.slow
        return {"first": self.line(period), "second": ema(period)}

class TwoOfOne(OtherEma):
    """Two indicators that one function made."""
    def indicators(self):
        period = self.parameters.fast + self.parameters.slow
        return {"first": called_ema(pl.col("open"))(period), "second": called_ema(pl.col("close"))(period)}

class AheadEma(OtherEma):
    """Knows what comes."""
    line = staticmethod(called_ema(pl.col("close").shift(-3)))
'''
RUN = """
import json, sys
from core.errors import BadInput
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
    try:
        rows = execute_sweep(SweepRequest(grid=grid, **market), candles=candles).to_dicts()
    except BadInput as error:
        found[name] = str(error)
        continue
    for row in rows:
        single = BacktestRequest(parameters={"fast": row["fast"], "slow": row["slow"]}, **market)
        pairs.append([row, execute(single, candles=candles, save=False).metrics])
json.dump(found, sys.stdout)
"""
WARM_UPS = ("third", "third_computed", "looks_back", "wider", "higher")
NAMESAKES = ("other_ema", "simple_ema", "both_emas", "two_of_one")
Rows = list[tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Rows | str]:
    """Of each strategy, the rows of a sweep, and the metrics of their backtests."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.py").write_text(OWN)
    env = os.environ | {"TCP_STRATEGIES_DIR": str(folder)}
    command = [sys.executable, "-c", RUN, *WARM_UPS, *NAMESAKES, "ahead_ema"]
    done = subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2], env=env)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Rows | str] = json.loads(done.stdout)
    return found


def check(rows: Rows | str) -> None:
    """Each row is its backtest, and trades."""
    assert not isinstance(rows, str), rows
    assert len(rows) == 25
    for row, metrics in rows:
        assert row["error"] is None
        assert row["trades"]
        for metric, value in metrics.items():
            assert row[metric] == pytest.approx(value, rel=1e-9, abs=1e-9), (row["fast"], row["slow"], metric)


@pytest.mark.parametrize("name", WARM_UPS)
def test_nothing_is_traded_before_the_warm_up(name: str, rows: dict[str, Rows | str]) -> None:
    """Whatever a strategy has besides its two lines: it waits in a sweep as in a single run."""
    check(rows[name])


@pytest.mark.parametrize("name", NAMESAKES)
def test_a_namesake_is_not_taken_for_another(name: str, rows: dict[str, Rows | str]) -> None:
    """An indicator is what its function says, whatever the function is called."""
    check(rows[name])


def test_a_namesake_is_looked_at_for_look_ahead(rows: dict[str, Rows | str]) -> None:
    """A line that is called as one which cannot look ahead may."""
    assert "looks ahead" in rows["ahead_ema"]
