"""`tcp backtest --validate`, `tcp sweep --walk-forward` and `tcp compare` as people and scripts call them."""

import json
from pathlib import Path

import polars as pl
import pytest

from core.metrics import METRICS
from strategies.sample import sample_candles
from tests.contract.test_research_commands import call, refused

GRID = ("--grid", "fast_period=5,10", "--grid", "slow_period=30,60")
SWEEP = ("sweep", "--strategy", "ema_crossover", *GRID)


@pytest.fixture(scope="module")
def candle_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five days of minutes."""
    path = tmp_path_factory.mktemp("candles") / "minutes.parquet"
    sample_candles(5 * 1440).write_parquet(path)
    return path


def test_validate_adds_to_the_document(capsys: pytest.CaptureFixture[str], candle_file: Path) -> None:
    """Without the option the document has no validation, with it intervals, p-values, costs and warnings."""
    base = ("backtest", "--strategy", "ema_crossover", "--candles", candle_file)
    plain = json.loads(call(capsys, *base, "--json"))
    assert "validation" not in plain
    found = json.loads(call(capsys, *base, "--json", "--validate", "--trials", "12"))
    assert found["metrics"] == plain["metrics"]
    assert set(found["validation"]["intervals"]) == {"sharpe", "total_return", "max_drawdown", "win_rate"}
    assert found["validation"]["sharpe"]["trials"] == 12
    assert 0 < found["validation"]["timing"]["p_value"] <= 1
    assert [row["multiple"] for row in found["validation"]["costs"]] == [0, 1, 2]
    assert found["validation"]["warnings"]
    text = call(capsys, *base, "--validate")
    assert " … " in text
    assert "variants" in text


def test_a_report_is_written(capsys: pytest.CaptureFixture[str], candle_file: Path, tmp_path: Path) -> None:
    """--report makes an HTML page or a JSON document, validated without saying so."""
    base = ("backtest", "--strategy", "ema_crossover", "--candles", candle_file)
    call(capsys, *base, "--report", tmp_path / "a.html")
    call(capsys, *base, "--report", tmp_path / "a.json")
    assert "Skill or luck" in (tmp_path / "a.html").read_text()
    assert "validation" in json.loads((tmp_path / "a.json").read_text())


def test_a_walk_forward_is_told_written_and_reported(
    capsys: pytest.CaptureFixture[str], candle_file: Path, tmp_path: Path
) -> None:
    """JSON and Parquet have a row a window, the report and the text the record of all tests."""
    walk = (*SWEEP, "--candles", candle_file, "--walk-forward", "rolling:train=2d,test=1d,purge=1h")
    out, report = tmp_path / "w.parquet", tmp_path / "w.html"
    found = json.loads(call(capsys, *walk, "--json", "--out", out, "--report", report))
    table = pl.read_parquet(out)
    assert found["walk_forward"]["purge"] == "1h"
    assert len(found["windows"]) == table.height == 3
    assert found["windows"][0]["parameters"] == table.select("fast_period", "slow_period").row(0, named=True)
    assert list(found["metrics"]) == list(METRICS)
    assert "Walk-forward of ema_crossover" in report.read_text()
    text = call(capsys, *walk)
    assert "sharpe tested" in text
    assert "3 windows: too few" in text


def test_compare_tells_significance(
    capsys: pytest.CaptureFixture[str], candle_file: Path, tmp_path: Path
) -> None:
    """Two results stand side by side with the p-value of their difference, on screen, as JSON, as a page."""
    folders = [tmp_path / name for name in ("ema_crossover", "buy_and_hold")]
    for folder in folders:
        call(capsys, "backtest", "--strategy", folder.name, "--candles", candle_file, "--out", folder)
    text = call(capsys, "compare", *folders, "--report", tmp_path / "c.html")
    assert "p = 0." in text or "p < 0." in text
    found = json.loads(call(capsys, "compare", *folders, "--benchmark", "buy_and_hold", "--json"))
    assert found["comparison"]["benchmark"] == "buy_and_hold"
    assert len(found["comparison"]["differences"]) == len(found["runs"]) == 2
    assert found["comparison"]["period"] == "hour"
    assert "Runs side by side" in (tmp_path / "c.html").read_text()
    (folders[0] / "equity.parquet").unlink()
    assert "No equity curve" in call(capsys, "compare", *folders)
    (folders[1] / "equity.parquet").write_text("no Parquet")
    assert "equity.parquet" in refused(capsys, "compare", folders[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--walk-forward rolling", "--walk-forward"),
        ("--walk-forward rolling:train=1y,test=1d", "--walk-forward"),
        ("--walk-forward rolling:train=30d,test=1d", "--walk-forward"),
        ("--walk-forward rolling:train=2d,test=1d --scheduler 127.0.0.1:1", "--scheduler"),
        ("--walk-forward rolling:train=2d,test=1d --report r.txt", "--report"),
        ("--report r.html", "--report"),
    ],
)
def test_a_wrong_walk_is_one_line(
    capsys: pytest.CaptureFixture[str], candle_file: Path, arguments: str, said: str
) -> None:
    """What cannot be walked or reported is named before any work."""
    assert refused(capsys, *SWEEP, "--candles", candle_file, *arguments.split()).startswith(f"tcp: {said}")


@pytest.mark.parametrize(("option", "value"), [("--trials", "0"), ("--report", "/proc/none/r.html")])
def test_a_wrong_judgement_is_one_line(
    capsys: pytest.CaptureFixture[str], candle_file: Path, option: str, value: str
) -> None:
    """So is a number of trials or a report that cannot be."""
    line = refused(capsys, "backtest", "--strategy", "ema_crossover", "--candles", candle_file, option, value)
    assert line.startswith(f"tcp: {option}")
