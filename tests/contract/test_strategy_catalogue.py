"""Strategies in a user's folder: found, loaded anew, broken, clashing, scaffolded."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import PROJECT_ROOT
from core.errors import BadInput
from strategies.catalogue import Catalogue
from strategies.evaluate import evaluate
from strategies.registry import build
from strategies.sample import sample_candles
from strategies.scaffold import scaffold

MINE = '''
import polars as pl
from strategies.base import VectorStrategy
from strategies.parameters import Parameters, parameter

class {name}Parameters(Parameters):
    level: float = parameter({level}, "Price to buy below", low=0, high=1e9)

class {name}(VectorStrategy[{name}Parameters]):
    """Buys below a level, sells above it."""
    lookback = 0
    def indicators(self):
        return {{}}
    def buy(self):
        return pl.col("close") < self.parameters.level
    def sell(self):
        return pl.col("close") > self.parameters.level
'''


def write(folder: Path, file: str, name: str = "Mine", level: float = 100.0) -> Path:
    """A strategy file."""
    path = folder / file
    path.write_text(MINE.format(name=name, level=level))
    return path


def default_level(catalogue: Catalogue, name: str = "mine") -> float:
    """The default of the strategy as it is in force now."""
    level: float = catalogue.find(name)().parameters.level  # type: ignore[attr-defined]
    return level


def test_a_users_folder_is_searched_beside_the_package(tmp_path: Path) -> None:
    """Its strategies are found by name in any spelling, and those of the package stay."""
    catalogue = Catalogue(tmp_path)
    assert "mine" not in catalogue.classes()
    write(tmp_path, "anything.py")
    assert catalogue.find("Mine") is catalogue.find("mine")
    assert "ema_crossover" in catalogue.classes()
    assert "mine" not in catalogue.shipped()
    assert not catalogue.problems()


def test_a_file_that_hangs_as_it_is_loaded_is_a_problem_of_its_own(tmp_path: Path) -> None:
    """It is named with the line where it stood, the others are usable, and a timer that ran goes on."""
    (tmp_path / "hanging.py").write_text("x = 0\nwhile True:\n    x += 1\n")
    write(tmp_path, "zeal.py")
    catalogue = Catalogue(tmp_path, load_s=0.3)
    was = signal.getitimer(signal.ITIMER_REAL)
    assert "mine" in catalogue.classes()
    (slow,) = catalogue.slow()
    assert slow.startswith(f"{tmp_path / 'hanging.py'}, line ") and slow.endswith(
        ": TimeoutError: took more than 0.3 s to load"
    )
    now = signal.getitimer(signal.ITIMER_REAL)
    assert (now[0] > 0) == (was[0] > 0) and now[0] <= was[0]


def test_a_folder_that_is_not_there_is_no_problem(tmp_path: Path) -> None:
    """Without a folder of one's own the package's strategies are all there is."""
    catalogue = Catalogue(tmp_path / "nowhere")
    assert list(catalogue.classes()) == catalogue.shipped()


def test_a_changed_file_is_in_force_at_the_next_look(tmp_path: Path) -> None:
    """Edited twice within a second, at the same size, the newest text counts; a removed file is gone."""
    catalogue = Catalogue(tmp_path)
    path = write(tmp_path, "mine.py", level=100.0)
    begun = catalogue.find("mine")()
    for level in (200.0, 300.0, 400.0):
        write(tmp_path, "mine.py", level=level)
        assert default_level(catalogue) == level
    assert begun.parameters.level == 100.0  # type: ignore[attr-defined]
    path.unlink()
    with pytest.raises(BadInput, match="'mine' is not known"):
        catalogue.find("mine")


def test_files_of_a_folder_may_share_code(tmp_path: Path) -> None:
    """A file imports another one of the folder, and a change of that one counts too."""
    (tmp_path / "_levels.py").write_text("LEVEL = 5.0\n")
    (tmp_path / "levels.py").write_text("from my_strategies._levels import LEVEL\nTWICE = 2 * LEVEL\n")
    path = write(tmp_path, "mine.py")
    path.write_text("from my_strategies.levels import TWICE\n" + path.read_text().replace("100.0", "TWICE"))
    catalogue = Catalogue(tmp_path)
    assert default_level(catalogue) == 10.0
    (tmp_path / "levels.py").write_text("TWICE = 77.0\n")
    assert default_level(catalogue) == 77.0


def test_a_shipped_file_is_loaded_anew_too(tmp_path: Path) -> None:
    """A strategy of the package that is edited is in force at the next look, the others are left alone."""
    script = (
        "import shutil, sys\n"
        "from pathlib import Path\n"
        "from strategies import base\n"
        "from strategies.catalogue import Catalogue\n"
        "copy = Path(sys.argv[1])\n"
        "shutil.copytree(Path(base.__file__).parent, copy)\n"
        "catalogue = Catalogue(None, shipped=copy)\n"
        "first, other = catalogue.find('ema_crossover'), catalogue.find('rsi_reversion')\n"
        "file = copy / 'ema_crossover.py'\n"
        "file.write_text(file.read_text().replace('parameter(12,', 'parameter(13,'))\n"
        "(copy / 'base.py').touch()\n"
        "assert catalogue.find('ema_crossover')().parameters.fast_period == 13\n"
        "assert first().parameters.fast_period == 12\n"
        "assert catalogue.find('rsi_reversion') is other\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "copy")]
    run = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("import polars\n\nx = (\n", 3, "SyntaxError: '(' was never closed"),
        ("import polars\nimport no_such_module\n", 2, "ModuleNotFoundError: No module named"),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
    ],
    ids=["syntax", "import", "raises", "exits"],
)
def test_a_broken_file_takes_nothing_down(tmp_path: Path, text: str, line: int, said: str) -> None:
    """Everything else stays usable; who asks for what was in it hears the line; mended, it is back."""
    catalogue = Catalogue(tmp_path)
    write(tmp_path, "good.py", "Good")
    path = write(tmp_path, "mine.py")
    assert {"good", "mine"} <= set(catalogue.classes())
    path.write_text(text)
    assert {"good", "ema_crossover"} <= set(catalogue.classes())
    with pytest.raises(BadInput) as caught:
        catalogue.find("mine")
    assert str(caught.value).startswith(f"{path}, line {line}: {said}")
    assert catalogue.problems() == [str(caught.value)]
    with pytest.raises(BadInput, match=r"'nope' is not known.*line"):
        catalogue.find("nope")
    write(tmp_path, "mine.py", level=9.0)
    assert default_level(catalogue) == 9.0
    assert not catalogue.problems()


@pytest.mark.parametrize("name", ["Mine", "EmaCrossover"], ids=["within the folder", "with the package"])
def test_a_name_that_is_defined_twice_is_refused(tmp_path: Path, name: str) -> None:
    """Which of the two was meant is not guessed: both places are named, every other name works."""
    one, two = write(tmp_path, "one.py", name), write(tmp_path, "two.py", name)
    catalogue = Catalogue(tmp_path)
    with pytest.raises(BadInput, match="is defined twice") as caught:
        catalogue.find(name)
    assert f"{one}, line 9" in str(caught.value) and f"{two}, line 9" in str(caught.value)
    assert catalogue.problems() == [caught.value.message]
    assert catalogue.find("rsi_reversion")
    two.unlink()
    if name == "Mine":
        assert catalogue.find(name)


def test_what_a_file_imports_is_not_its_own(tmp_path: Path) -> None:
    """A file may build on a shipped strategy without defining it a second time."""
    text = (
        "from strategies.ema_crossover import EmaCrossover\nclass Variant(EmaCrossover):\n    '''More.'''\n"
    )
    (tmp_path / "variant.py").write_text(text)
    catalogue = Catalogue(tmp_path)
    assert catalogue.find("variant").__mro__[1].__name__ == "EmaCrossover"
    assert catalogue.find("ema_crossover")
    assert not catalogue.problems()


@pytest.mark.parametrize(
    ("code", "said"), [("1 / 0", "ZeroDivisionError"), ("exit(3)", "SystemExit: 3")], ids=["raises", "exits"]
)
def test_a_strategy_that_raises_names_its_line(tmp_path: Path, code: str, said: str) -> None:
    """What goes wrong while judging is one line with strategy, file and line, also where it would end the
    process."""
    path = write(tmp_path, "mine.py")
    path.write_text(path.read_text().replace('pl.col("close") < self.parameters.level', code))
    strategy = Catalogue(tmp_path).find("mine")()
    with pytest.raises(BadInput, match=rf"strategy mine: it failed at {path}, line 15: {said}"):
        evaluate(strategy, sample_candles(20))


def test_a_strategy_that_exits_when_it_is_built_is_refused(tmp_path: Path) -> None:
    """With its line, as one that raises."""
    path = write(tmp_path, "mine.py")
    path.write_text(path.read_text().replace("return {}", "raise SystemExit(3)"))
    with pytest.raises(BadInput, match=rf"strategy mine: it failed at {path}, line 13: SystemExit: 3"):
        build(Catalogue(tmp_path).find("mine"))


def test_a_strategy_that_raises_when_it_is_built_disturbs_no_list(tmp_path: Path) -> None:
    """`tcp strategies list` names it with its line and shows the others; asking for it is one line."""
    path = write(tmp_path, "mine.py")
    path.write_text(path.read_text().replace("return {}", "return {'x': 1 / 0}"))
    for arguments, code in ((["list"], 0), (["show", "mine"], 2)):
        run = subprocess.run(
            [sys.executable, "-m", "cli.main", "strategies", *arguments],
            capture_output=True,
            text=True,
            cwd=PROJECT_ROOT,
            env=os.environ | {"TCP_STRATEGIES_DIR": str(tmp_path)},
        )
        assert run.returncode == code
        assert (
            run.stderr
            == f"tcp: strategy mine: it failed at {path}, line 13: ZeroDivisionError: division by zero\n"
        )
        assert ("ema_crossover" in run.stdout) is (code == 0)


def test_the_packages_own_folder_is_not_searched_twice() -> None:
    """TCP_STRATEGIES_DIR=strategies clashes with nothing."""
    catalogue = Catalogue(PROJECT_ROOT / "strategies")
    assert catalogue.problems() == []
    assert catalogue.find("ema_crossover")


@pytest.mark.parametrize("kind", ["vector", "steps"])
@pytest.mark.parametrize(("name", "module"), [("my_idea", "my_idea"), ("MyIdea", "my_idea"), ("e_2", "e_2")])
def test_a_scaffold_is_a_strategy(tmp_path: Path, kind: str, name: str, module: str) -> None:
    """The file is found under the name that was asked for, gives signals, and is never overwritten."""
    catalogue = Catalogue(tmp_path / "new")
    path = scaffold(name, kind, catalogue)
    assert path == tmp_path / "new" / f"{module}.py"
    judged = evaluate(catalogue.find(name)(), sample_candles(2_000))
    assert judged["buy"].any() and judged["sell"].any()
    with pytest.raises(BadInput, match="is taken"):
        scaffold(name, kind, catalogue)


@pytest.mark.parametrize(
    "name",
    ["", "7up", "with space", "../up", "class", "ema_crossover", "é"],
    ids=lambda name: name or "empty",
)
def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing is written for a name that Python, the file system or another strategy does not allow."""
    with pytest.raises(BadInput):
        scaffold(name, "vector", Catalogue(tmp_path))
    with pytest.raises(BadInput, match="--kind"):
        scaffold("fine", "nope", Catalogue(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["vector", "steps"])
def test_a_scaffold_runs_at_once_in_every_command(tmp_path: Path, kind: str) -> None:
    """new, check, backtest and sweep, each in its own process; the file passes the project's lint."""
    candles = tmp_path / "candles.csv"
    sample_candles(2_000).write_csv(candles)
    own = tmp_path / "own"

    def tcp(*arguments: str) -> str:
        command = [sys.executable, "-m", "cli.main", *arguments]
        environment = os.environ | {"TCP_STRATEGIES_DIR": str(own)}
        run = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT, env=environment)
        assert run.returncode == 0, run.stderr
        return run.stdout

    made = json.loads(tcp("strategies", "new", "my_idea", "--kind", kind, "--json"))
    assert Path(made["path"]) == own / "my_idea.py"
    tcp("strategies", "check", "my_idea", "--candles", str(candles), "--cuts", "20")
    result = json.loads(tcp("backtest", "--strategy", "my_idea", "--candles", str(candles), "--json"))
    assert result["strategy"] == "my_idea" and result["trades"]
    grid = {"vector": "fast_period=5:15:5", "steps": "falls=2:4:1"}[kind]
    table = tcp("sweep", "--strategy", "my_idea", "--candles", str(candles), "--grid", grid, "--json")
    assert json.loads(table)["combinations"] == 3
    assert json.loads(tcp("strategies", "schema", "my_idea"))["properties"]
    lint = [sys.executable, "-m", "ruff", "check", "--config", "pyproject.toml", made["path"]]
    subprocess.run(lint, cwd=PROJECT_ROOT, check=True)
    layout = [sys.executable, "-m", "ruff", "format", "--check", "--config", "pyproject.toml", made["path"]]
    subprocess.run(layout, cwd=PROJECT_ROOT, check=True)
