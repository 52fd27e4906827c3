"""The guide in docs/strategies.md does what it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from config.files import BotFile
from config.settings import PROJECT_ROOT
from strategies.catalogue import Catalogue
from strategies.check import check
from strategies.evaluate import evaluate
from strategies.sample import sample_candles

GUIDE = (PROJECT_ROOT / "docs" / "strategies.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks in that language."""
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.DOTALL)


def test_its_code_runs(tmp_path: Path) -> None:
    """Every Python block, one after the other in one file; the strategies in it are found, trade and pass."""
    (tmp_path / "guide.py").write_text("\n\n".join(blocks("python")))
    catalogue = Catalogue(tmp_path)
    assert catalogue.problems() == []
    for name in ("momentum_cross", "buy_the_dip"):
        strategy = catalogue.find(name)("1m")
        judged = evaluate(strategy, sample_candles(6_000))
        assert judged["buy"].any() and judged["sell"].any()
        assert check(strategy, sample_candles(6_000), cuts=5).passed
    bot = BotFile.model_validate(json.loads(blocks("json")[0]))
    assert catalogue.find(str(bot.strategy))(**bot.parameters)


def test_its_commands_run(tmp_path: Path) -> None:
    """Every line of its console block, as it stands there, in a folder with a file of candles."""
    sample_candles(1_500).write_csv(tmp_path / "candles.csv")
    environment = os.environ | {"TCP_STRATEGIES_DIR": str(tmp_path / "mine"), "PYTHONPATH": str(PROJECT_ROOT)}
    lines = [line.removeprefix("$ tcp ").split() for line in blocks("console")[0].splitlines()]
    assert len(lines) == 4
    for arguments in lines:
        command = [sys.executable, "-m", "cli.main", *arguments]
        run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert run.returncode == 0, (arguments, run.stderr)


@pytest.mark.parametrize("option", sorted(set(re.findall(r"--[a-z]+(?:-[a-z]+)*", GUIDE))))
def test_its_options_exist(option: str) -> None:
    """Every option that it names is one of a command."""
    sources = "".join(path.read_text() for path in (PROJECT_ROOT / "cli").glob("*.py"))
    assert option in sources or f"{option[2:].replace('-', '_')}:" in sources or f"{option[2:]}:" in sources
