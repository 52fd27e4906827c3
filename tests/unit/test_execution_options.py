"""`tcp backtest` with orders that wait, costs, the path inside candles, and parameter files."""

import json
import shlex
from pathlib import Path

import polars as pl
import pytest

from cli.main import main
from config.settings import PROJECT_ROOT
from core.timeframes import Timeframe
from strategies.columns import resample
from strategies.sample import sample_candles


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with quarters.parquet, their minutes.csv and their trades.csv."""
    folder = tmp_path_factory.mktemp("candles")
    minutes = sample_candles(15 * 200).with_columns(pl.col("open", "high", "low", "close").round(2))
    minutes.write_csv(folder / "minutes.csv")
    resample(minutes, Timeframe.M15, Timeframe.M1).write_parquet(folder / "quarters.parquet")
    begin = pl.col("timestamp").dt.epoch("ms") - 60_000
    traded = minutes.filter(pl.col("volume") > 0)
    trades = pl.concat(
        traded.select(timestamp=begin + 10_000 * n, price=pl.col(name), size=pl.col("volume") / 4)
        for n, name in enumerate(("open", "high", "low", "close"))
    )
    trades.sort("timestamp").write_csv(folder / "trades.csv")
    return folder


def backtest(capsys: pytest.CaptureFixture[str], files: Path, options: str) -> dict:
    """The document of a run over the quarters."""
    chosen = ["--strategy", "ema_crossover", "--param", "fast_period=3", "--param", "slow_period=8"]
    candles = ["--candles", str(files / "quarters.parquet"), "--json"]
    return tcp(capsys, ["backtest", *chosen, *candles, *shlex.split(options)])


def tcp(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> dict:
    """The document that a command prints; SystemExit when it ends with another code than 0."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    if ended.value.code:
        raise ended.value
    document: dict = json.loads(capsys.readouterr().out)
    return document


def test_each_option_changes_the_run_and_is_in_the_document(capsys, files: Path) -> None:
    """Every option reaches the engine, and the document says with which a run was made."""
    plain = backtest(capsys, files, "")
    assert plain["execution"] is None
    for options, said in {
        "--order limit --offset 0.001 --expires 3": {"order": "limit", "offset": 0.001, "expires": 3},
        "--order stop --offset 0.0005": {"order": "stop", "offset": 0.0005},
        "--order limit --offset 0.001 --maker-fee 0": {"order": "limit", "offset": 0.001, "maker_fee": 0.0},
        "--fee-tiers 0:0.001:0.002,50000:0:0.0005": None,
        "--volume-share 0.05": {"volume_share": 0.05},
        "--spread 0.05": {"spread": 0.05},
        "--impact 0.2": {"impact": 0.2},
    }.items():
        found = backtest(capsys, files, options)
        assert found["final_value"] != plain["final_value"], options
        assert said is None or found["execution"] == said


@pytest.mark.parametrize("name", ["minutes.csv", "trades.csv"])
def test_a_file_is_the_path_inside_candles(capsys, files: Path, name: str) -> None:
    """Minutes or trades of a file decide every candle that they cover, and the document counts them."""
    stops = "--stop-loss 0.003 --take-profit 0.003"
    whole = backtest(capsys, files, stops)
    fine = backtest(capsys, files, f"{stops} --intrabar {files / name}")
    assert whole["intrabar_candles"] == 0
    assert fine["intrabar_candles"] > 190
    assert fine["final_value"] != whole["final_value"]


def test_candles_that_the_path_does_not_cover_are_told(capsys, files: Path) -> None:
    """The text of a run says of how many candles the inside is known, and of how many it is guessed."""
    lines = (files / "minutes.csv").read_text().splitlines()
    (files / "some.csv").write_text("\n".join(lines[: 1 + 15 * 50]))
    chosen = ["--strategy", "ema_crossover", "--candles", str(files / "quarters.parquet")]
    with pytest.raises(SystemExit) as ended:
        main(["backtest", *chosen, "--stop-loss", "0.003", "--intrabar", str(files / "some.csv")])
    assert ended.value.code == 0
    assert "The path inside covers 50 of 200 candles: the others are judged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--intrabar 1m", "--intrabar: 1m is read from the database"),
        ("--intrabar nowhere.csv", "--intrabar: 'nowhere.csv' is neither 1m, trades nor a file"),
        ("--fee-tiers 1:2", "--fee-tiers: '1:2' is not TRADED:MAKER:TAKER"),
        ("--offset 0.1", "offset: belongs to a limit or stop entry"),
        ("--order limit --offset 2", "execution.offset: must be less than 1"),
        ("--order limit --fill close", "fill: close has no orders that wait"),
        ("--spread 1000", "spread: 1000 is not below every price"),
    ],
)
def test_wrong_use_is_one_line(capsys, files: Path, options: str, said: str) -> None:
    """A mistake is one line on stderr with the option's name, exit code 2."""
    with pytest.raises(SystemExit) as caught:
        backtest(capsys, files, options)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"tcp: {said}") and error.count("\n") == 1


def test_a_parameter_file_is_a_strategy(capsys, files: Path, tmp_path: Path) -> None:
    """--strategy takes a file of config/strategies; --param goes over it; a wrong one is named."""
    candles = ["--candles", str(files / "quarters.parquet"), "--json"]
    shipped = str(PROJECT_ROOT / "config" / "strategies" / "ema_crossover.json")
    document = tcp(capsys, ["backtest", "--strategy", shipped, "--param", "fast_period=5", *candles])
    assert document["strategy"] == "ema_crossover"
    assert document["params"] == {"fast_period": 5, "slow_period": 26, "risk_percentage": 0.02}
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"strategy_name": "ema_crossover", "parameters": {"fast_period": 3},}')
    with pytest.raises(SystemExit):
        main(["backtest", "--strategy", str(wrong), *candles])
    assert f"tcp: {wrong}: line 1" in capsys.readouterr().err
