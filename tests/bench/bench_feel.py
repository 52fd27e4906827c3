"""From the shell to the result: `tcp backtest` beside a bare import of its libraries, in the same run."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from config.settings import PROJECT_ROOT
from strategies.sample import sample_candles
from tests.bench.figures import Tell

WEEK, TWO_YEARS = 7 * 1_440, 730 * 1_440
TIMES = 3
STOPS = ("--stop-loss", "0.01", "--take-profit", "0.02")
ORDERS = ("--order", "limit", "--offset", "0.0005", "--maker-fee", "0.0005")


def seconds(*command: str) -> float:
    """The quickest of a few runs of a command, from its start to its end: the others met other work."""
    quickest = float("inf")
    for _ in range(TIMES):
        began = time.perf_counter()
        subprocess.run(command, cwd=PROJECT_ROOT, check=True, stdout=subprocess.DEVNULL)
        quickest = min(quickest, time.perf_counter() - began)
    return quickest


@pytest.fixture(scope="module")
def bare() -> float:
    """Importing polars and numba, nothing else."""
    subprocess.run([sys.executable, "-m", "pipelines.backtest.warm"], cwd=PROJECT_ROOT, check=True)
    return seconds(sys.executable, "-c", "import polars, numba")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up minutes: a week as CSV, two years as CSV and Parquet."""
    folder = tmp_path_factory.mktemp("feel")
    sample_candles(WEEK).write_csv(folder / "week.csv")
    years = sample_candles(TWO_YEARS)
    years.write_csv(folder / "years.csv")
    years.write_parquet(folder / "years.parquet")
    return folder


@pytest.mark.parametrize(
    ("file", "allowed", "options"),
    [
        ("week.csv", 1.5, ()),
        ("week.csv", 1.5, STOPS),
        ("week.csv", 1.5, ORDERS),
        ("years.csv", 4.0, ()),
        ("years.parquet", 4.0, ()),
        ("years.parquet", 4.0, STOPS),
        ("years.parquet", 4.0, ORDERS),
    ],
    ids=lambda value: " ".join(value[:2]) or "plain" if isinstance(value, tuple) else str(value),
)
def test_a_backtest_from_the_shell(
    bare: float,
    folder: Path,
    file: str,
    allowed: float,
    options: tuple[str, ...],
    tell: Tell,
) -> None:
    """A week of minutes takes at most 1.5 s more than the bare import, two years at most 4 s more."""
    command = [sys.executable, "-m", "cli.main", "backtest", "--strategy", "ema_crossover"]
    taken = seconds(*command, "--candles", str(folder / file), "--json", *options)
    more = taken - bare
    tell(
        f"{taken:.2f} s, bare import {bare:.2f} s: {more:+.2f} s",
        "feel-week" if file == "week.csv" else "feel-years",
        case=f"`{' '.join((file, *options))}`",
    )
    assert more <= allowed
