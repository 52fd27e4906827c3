"""Sizes that a strategy says itself: what is wrong with them is one line, wherever they are asked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.files import RiskFile
from core.errors import BadInput
from pipelines.backtest.risk import Risk
from strategies.catalogue import Catalogue
from strategies.check import check
from strategies.sample import sample_candles
from strategies.sizes import with_sizes

ROOT = Path(__file__).parents[2]
OWN = '''
"""Strategies whose sizes are wrong."""
from strategies.ema_crossover import EmaCrossoverParameters
from strategies.base import VectorStrategy
from strategies.conditions import crosses_above, crosses_below
from strategies.indicators.averages import ema

class Negative(VectorStrategy[EmaCrossoverParameters]):
    """A size below nothing."""
    @property
    def sizes(self):
        return {"sizing": "volatility", "size": -1}
    def indicators(self):
        return {"line": ema(self.parameters.fast_period)}
    def buy(self):
        return crosses_above("close", "line")
    def sell(self):
        return crosses_below("close", "line")

class Unknown(Negative):
    """A sizing that there is not."""
    @property
    def sizes(self):
        return {"sizing": "junk"}

class Sizeless(Negative):
    """A sizing without its size."""
    @property
    def sizes(self):
        return {"sizing": "percent"}

class Raising(Negative):
    """Raises when it is asked."""
    @property
    def sizes(self):
        return {"size": 1 / 0}

class Leaving(Negative):
    """Ends the process when it is asked."""
    @property
    def sizes(self):
        raise SystemExit(3)
'''
WRONG = {
    "negative": "sizes: size: Input should be greater than 0",
    "unknown": "sizes: sizing: Input should be 'all', 'fixed'",
    "sizeless": "sizes: size: is needed for sizing percent",
    "raising": "ZeroDivisionError: division by zero",
    "leaving": "SystemExit: 3",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Strategies of one's own, and candles."""
    path = tmp_path_factory.mktemp("sizes")
    (path / "own").mkdir()
    (path / "own" / "wrong.py").write_text(OWN)
    sample_candles(500).write_parquet(path / "candles.parquet")
    return path


@pytest.mark.parametrize("name", WRONG)
def test_wrong_sizes_are_one_line(folder: Path, name: str) -> None:
    """Backtests, bots and the check of strategies refuse them by the strategy's name."""
    strategy = Catalogue(folder / "own").find(name)()
    for ask in (
        lambda: check(strategy, sample_candles(500), cuts=1),
        lambda: Risk.sized(None, strategy),
        lambda: with_sizes(RiskFile(), strategy),
    ):
        with pytest.raises(BadInput) as caught:
            ask()
        assert caught.value.field == f"strategy {name}"
        assert WRONG[name] in caught.value.message
        assert "\n" not in caught.value.message


def test_a_sizing_of_the_run_goes_first(folder: Path) -> None:
    """The strategy is not even asked."""
    strategy, chosen = Catalogue(folder / "own").find("raising")(), RiskFile(sizing="percent", size="0.5")
    assert with_sizes(chosen, strategy) is chosen


@pytest.mark.parametrize(
    "asked",
    [("backtest", "--strategy", "raising"), ("strategies", "check", "raising")],
    ids=lambda asked: asked[0],
)
def test_a_command_says_where_they_raise(folder: Path, asked: tuple[str, ...]) -> None:
    """Exit code 2, and file and line on one line."""
    run = tcp(folder, *asked)
    assert run.returncode == 2, run.stderr
    (line,) = run.stderr.splitlines()
    assert line.startswith("tcp: strategy raising: it failed at ")
    row = next(n for n, text in enumerate(OWN.splitlines(), 1) if "1 / 0" in text)
    assert f"wrong.py, line {row}: " in line


def test_a_swept_row_says_what_is_wrong_with_its_sizes(folder: Path) -> None:
    """In the same words."""
    run = tcp(folder, "sweep", "--strategy", "negative", "--grid", "fast_period=5,6", "--json")
    assert WRONG["negative"] in run.stdout + run.stderr
    assert "pydantic" not in run.stdout + run.stderr


def tcp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command on those candles, with those strategies."""
    own = os.environ | {"TCP_STRATEGIES_DIR": str(folder / "own")}
    line = [sys.executable, "-m", "cli.main", *arguments, "--candles", str(folder / "candles.parquet")]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=own, check=False)
