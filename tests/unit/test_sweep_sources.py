"""What a sweep takes for the same definitions, so that rows of two of them never mix."""

import ast
import shutil
from pathlib import Path

import pytest

from pipelines.sweep.sources import OWN_CODE, ROOT, source_mark
from strategies import registry
from strategies.base import Strategy
from strategies.catalogue import Catalogue

CANDLES = {ROOT / "pipelines/warehouse", ROOT / "pipelines/lake"}
MINE = '''"""A strategy in two files."""

import polars as pl

from my_strategies.lines import line
from strategies.base import VectorStrategy
from strategies.indicators.base import Indicator
from strategies.parameters import Parameters


class MineParameters(Parameters):
    """None."""


class Mine(VectorStrategy[MineParameters]):
    """Follows a line."""

    def indicators(self) -> dict[str, Indicator]:
        """The line."""
        return {"line": line()}

    def buy(self) -> pl.Expr:
        """Above it."""
        return pl.col("close") > pl.col("line")

    def sell(self) -> pl.Expr:
        """Below it."""
        return pl.col("close") < pl.col("line")
'''
LINES = '''"""The line."""

from my_strategies import numbers
from strategies.indicators.averages import ema


def line():
    """An average."""
    return ema(numbers.PERIOD)
'''


def mine(folder: Path) -> type[Strategy]:
    """The strategy of that folder as it is now."""
    return Catalogue(folder).classes()["mine"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A strategy, what it imports, what that imports, and a file that has nothing to do with them."""
    for name, text in {"mine": MINE, "lines": LINES, "numbers": "PERIOD = 5\n", "other": "A = 1\n"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def test_a_changed_import_is_another_definition(folder: Path) -> None:
    """A strategy is what its file and all files beside it say that it imports, directly or not; others are
    nothing to it."""
    first = source_mark(mine(folder))
    (folder / "other.py").write_text("A = 2\n")
    assert source_mark(mine(folder)) == first
    marks = {first}
    for name, text in (("numbers", "PERIOD = 6\n"), ("lines", LINES + "\n"), ("mine", MINE + "\n")):
        (folder / f"{name}.py").write_text(text)
        marks.add(source_mark(mine(folder)))
    assert len(marks) == 4


@pytest.mark.parametrize("changed", ["config/limits.py", "pipelines/backtest/exits.py", "core/metrics.py"])
def test_a_changed_program_is_another_definition(tmp_path: Path, changed: str) -> None:
    """So is whatever in the program says what a fill, a metric or a signal is."""
    for name in OWN_CODE:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    strategy = registry.find("ema_crossover")
    assert source_mark(strategy, tmp_path) == source_mark(strategy)
    with (tmp_path / changed).open("a") as file:
        file.write("\n")
    assert source_mark(strategy, tmp_path) != source_mark(strategy)


def imported(path: Path) -> set[Path]:
    """The files of the program that a file imports, anywhere in it."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            names.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    files = {ROOT / f"{name.replace('.', '/')}.py" for name in names}
    return {file for file in files if file.is_file()}


def test_everything_that_a_row_follows_from_is_in_the_mark() -> None:
    """Whatever the walk of a combination imports, directly or not, lies in a folder that the mark covers, but
    for what brings the candles, which are in the fingerprint themselves."""
    waiting, seen = {ROOT / "pipelines/sweep/walker.py"}, set[Path]()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        waiting |= {file for file in imported(path) - seen if CANDLES.isdisjoint(file.parents)}
    assert {ROOT / "config/limits.py", ROOT / "pipelines/backtest/orders.py"} <= seen
    strange = {p for p in seen if not any(p.is_relative_to(ROOT / name) for name in OWN_CODE)}
    assert strange == set()
