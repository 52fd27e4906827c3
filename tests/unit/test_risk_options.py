"""`tcp backtest` and `tcp sweep` with exits and sizes."""

import json
from pathlib import Path

import polars as pl
import pytest

from cli.main import main
from config.files import RiskFile
from pipelines.backtest.risk import Risk
from strategies.sample import sample_candles

ALL = (
    "--stop-loss 0.003 --take-profit 0.005 --trailing-stop 0.003 --max-candles 8 --sizing risk --size 0.001 "
    "--max-daily-loss 0.5 --max-drawdown 0.5"
)


@pytest.fixture(scope="module")
def candle_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some days of minutes."""
    path = tmp_path_factory.mktemp("candles") / "minutes.parquet"
    sample_candles(5_000).write_parquet(path)
    return path


def call(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """Run the command; it must exit with that code. Returns what it wrote."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    written = capsys.readouterr()
    assert (caught.value.code or 0) == code, written.err
    return written.err if code else written.out


def test_the_options_are_the_risk_block(capsys: pytest.CaptureFixture[str], candle_file: Path) -> None:
    """Every option is in the document's risk block, and each trade says which exit it took."""
    base = ("backtest", "--strategy", "ema_crossover", "--candles", candle_file, "--json")
    document = json.loads(call(capsys, 0, *base, "--fee", "0.0001", *ALL.split()))
    assert document["risk"] == {
        "stop_loss": 0.003,
        "take_profit": 0.005,
        "trailing_stop": 0.003,
        "max_candles": 8,
        "sizing": "risk",
        "size": 0.001,
        "max_daily_loss": 0.5,
        "max_drawdown": 0.5,
    }
    reasons = {trade["exit_reason"] for trade in document["trades"]}
    assert {"stop_loss", "take_profit", "trailing_stop", "time"} <= reasons
    gained = sum(trade["pnl"] for trade in document["trades"])
    assert document["final_value"] == pytest.approx(10_000 + gained)
    assert json.loads(call(capsys, 0, *base))["risk"] is None


def test_a_sweep_takes_them_too(
    capsys: pytest.CaptureFixture[str], candle_file: Path, tmp_path: Path
) -> None:
    """A swept row has the metrics of the single backtest with the same stop."""
    base = ("--strategy", "ema_crossover", "--candles", candle_file, "--stop-loss", "0.002", "--json")
    out = tmp_path / "sweep.parquet"
    call(capsys, 0, "sweep", *base, "--grid", "fast_period=5,9", "--out", out)
    row = pl.read_parquet(out).filter(pl.col("fast_period") == 5)
    single = json.loads(call(capsys, 0, "backtest", *base, "--param", "fast_period=5"))
    assert row["total_return"].item() == pytest.approx(single["metrics"]["total_return"], rel=1e-9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--stop-loss 2", "risk.stop_loss"),
        ("--max-candles 0", "risk.max_candles"),
        ("--sizing kelly", "risk.sizing"),
        ("--sizing risk --size 0.01", "sizing"),
        ("--sizing risk --stop-loss 0.01", "size"),
        ("--sizing percent", "size"),
        ("--size 5", "size"),
    ],
)
def test_a_wrong_one_is_one_line(
    capsys: pytest.CaptureFixture[str], candle_file: Path, options: str, said: str
) -> None:
    """A wrong limit or size is exit code 2 and one line that begins with its name."""
    base = ("backtest", "--strategy", "ema_crossover", "--candles", candle_file)
    error = call(capsys, 2, *base, *options.split())
    assert error.split(": ")[1] == said
    assert len(error.strip().splitlines()) == 1


def test_a_bots_risk_block_is_a_backtests() -> None:
    """Every field of a bot file's block is one of a backtest's."""
    assert set(RiskFile.model_fields) <= set(Risk.model_fields)
