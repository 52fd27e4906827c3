"""`tcp sweep` as people and scripts call it."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from cli.main import main
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import Sweep, run_sweep
from pipelines.sweep.sweepfile import request_of
from strategies.sample import sample_candles


@pytest.fixture
def candle_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with minutes and quarters of two symbols."""
    for seed, symbol in enumerate(("BTC-USDT", "ETH-USDT")):
        for timeframe in ("1m", "15m"):
            sample_candles(1_500, timeframe, seed).write_parquet(tmp_path / f"{symbol}_{timeframe}.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Run the command; it must exit with that code. Returns stdout, or the error."""
    with pytest.raises(SystemExit) as caught:
        main(["sweep", *arguments])
    written = capsys.readouterr()
    assert (caught.value.code or 0) == code, written.err
    return written.err if code else written.out


def test_several_markets_a_search_and_constraints(
    capsys: pytest.CaptureFixture[str], candle_files: Path
) -> None:
    """One document: rows of every market, the number dropped, and the best with its market."""
    out = call(
        capsys, 0, "--strategy", "ema_crossover", "--symbol", "BTC-USDT,ETH-USDT", "--timeframe", "1m,15m",
        "--candles", "{symbol}_{timeframe}.parquet", "--grid", "fast_period=3,5,8",
        "--grid", "slow_period=10:30:10", "--where", "fast_period * 3 < slow_period", "--json",
    )  # fmt: skip
    document = json.loads(out)
    assert (document["combinations"], document["dropped"], document["failed"]) == (24, 12, 0)
    assert {(row["symbol"], row["timeframe"]) for row in document["best"]} <= {
        (symbol, timeframe) for symbol in ("BTC-USDT", "ETH-USDT") for timeframe in ("1m", "15m")
    }
    assert all(row["fast_period"] * 3 < row["slow_period"] for row in document["best"])


def test_resume_needs_nothing_but_the_name(capsys: pytest.CaptureFixture[str], candle_files: Path) -> None:
    """--resume FILE finds candles, request and chunks of a stopped sweep, from another folder too."""
    values = {"strategy": "ema_crossover", "symbol": "BTC-USDT,ETH-USDT", "timeframe": "1m"}
    request = SweepRequest.read(values | {"grid": {"fast_period": "3:9:1", "slow_period": "20,30"}})
    source = {
        "candles": str(candle_files / "{symbol}_{timeframe}.parquet"),
        "timestamps": "close",
        "out": str(candle_files / "x.parquet"),
    }

    def read(market: SweepRequest) -> pl.DataFrame:
        return pl.read_parquet(f"{market.symbol}_{market.timeframe}.parquet")

    def stop(done: int, of: int) -> None:
        if done > 14:
            raise KeyboardInterrupt

    sweep = Sweep(request, candles=read, out=candle_files / "x.parquet", source=source, chunk=7)
    sweep.on_progress = stop
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep)
    os.chdir("/")
    document = json.loads(call(capsys, 0, "--resume", str(candle_files / "x.parquet"), "--json"))
    assert (document["resumed_chunks"], document["combinations"]) == (2, 28)
    assert pl.read_parquet(candle_files / "x.parquet").height == 28
    again = call(capsys, 2, "--resume", str(candle_files / "x.parquet"))
    assert again.startswith("tcp: --resume: there is no unfinished sweep")
    assert call(capsys, 2, "--resume", "nope").startswith("tcp: --resume: ")


def test_a_sweep_file_may_say_everything(capsys: pytest.CaptureFixture[str], candle_files: Path) -> None:
    """Search, constraints, exits, risk and several markets of a file; options go over it."""
    file = candle_files / "mine.json"
    file.write_text(
        json.dumps(
            {
                "strategy": "rsi_reversion",
                "symbol": ["BTC-USDT", "ETH-USDT"],
                "timeframe": "1m",
                "grid": {"period": "5:14:1", "stop_loss": [None, 0.01]},
                "where": ["period % 2 == 0"],
                "search": "random",
                "trials": 4,
                "seed": 3,
                "risk": {"take_profit": 0.03},
                "sort": "total_return",
            }
        )
    )
    request = request_of(file)
    assert (request.symbol, request.draws, len(request.markets)) == ("BTC-USDT,ETH-USDT", 4, 2)
    command = ("--file", str(file), "--candles", "{symbol}_{timeframe}.parquet", "--json")
    document = json.loads(call(capsys, 0, *command))
    assert (document["combinations"], document["sort"]) == (8, "total_return")
    assert all(row["period"] % 2 == 0 for row in document["best"])
    more = ("--trials", "6", "--where", "period > 6", "--max-candles", "9")
    other = json.loads(call(capsys, 0, *command, *more, "--out", "x.parquet"))
    assert other["combinations"] == 12
    assert all(row["period"] > 6 for row in other["best"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--symbol BTC-USDT,ETH-USDT --timeframe 1m --candles BTC-USDT_1m.parquet", "--candles"),
        ("--symbol BTC-USDT --timeframe 1m --candles BTC-USDT_1m.parquet --exchange binance", "--exchange"),
        ("--candles BTC-USDT_1m.parquet --where fast_period<", "where"),
        ("--candles BTC-USDT_1m.parquet --where slow<3", "where"),
        ("--candles BTC-USDT_1m.parquet --grid fast_period=30:20", "fast_period"),
        ("--candles BTC-USDT_1m.parquet --grid fast_period=9000", "fast_period"),
        ("--candles BTC-USDT_1m.parquet --grid fast=9", "fast"),
        ("--candles BTC-USDT_1m.parquet --grid fast_period=50 --grid slow_period=40", "grid"),
        ("--candles BTC-USDT_1m.parquet --grid stop_loss=5", "stop_loss"),
        ("--candles BTC-USDT_1m.parquet --grid offset=5", "offset"),
        ("--candles BTC-USDT_1m.parquet --grid order=limit --fill close", "fill"),
        ("--candles BTC-USDT_1m.parquet --grid fast_period=5,6 --spread 1e6", "spread"),
        ("--candles BTC-USDT_1m.parquet --grid order=limit,stop --intrabar 1m", "--intrabar"),
        ("--candles BTC-USDT_1m.parquet --grid order=limit,stop --intrabar no.csv", "--intrabar"),
        ("--candles BTC-USDT_1m.parquet --from 2030-01-01", "candles"),
        ("--candles BTC-USDT_1m.parquet --trials 5", "trials"),
        ("--candles BTC-USDT_1m.parquet --search random --trials 0", "trials"),
        ("--candles BTC-USDT_1m.parquet --search random --seed -1", "seed"),
        ("--candles BTC-USDT_1m.parquet --scheduler here", "--scheduler"),
    ],
)
def test_wrong_use_is_one_line(
    capsys: pytest.CaptureFixture[str], candle_files: Path, options: str, said: str
) -> None:
    """A mistake is exit code 2 and one line that begins with what is wrong."""
    error = call(capsys, 2, "--strategy", "ema_crossover", *options.split())
    assert error.split(": ")[1] == said
    assert len(error.strip().splitlines()) == 1


def test_a_parameter_file_is_a_strategy(capsys: pytest.CaptureFixture[str], candle_files: Path) -> None:
    """--strategy takes a file of config/strategies: its values stay the same, but for those in the grid."""
    values = {"fast_period": 9, "slow_period": 40}
    (candle_files / "mine.json").write_text(
        json.dumps({"strategy_name": "EMA_Crossover", "parameters": values})
    )
    asked = ("--candles", "BTC-USDT_1m.parquet", "--grid", "fast_period=5,45,9", "--json", "--strategy")
    found = json.loads(call(capsys, 0, *asked, "mine.json"))
    named = json.loads(call(capsys, 0, *asked, "ema_crossover", "--param", "slow_period=40"))
    assert (found["combinations"], found["dropped"]) == (2, 1)  # 45 is no fast period of a slow one of 40
    assert found["best"] == named["best"]


def test_what_rules_everything_out_is_said(capsys: pytest.CaptureFixture[str], candle_files: Path) -> None:
    """A space in which nothing is left names the condition that no combination meets."""
    candles = ("--strategy", "ema_crossover", "--candles", "BTC-USDT_1m.parquet", "--grid", "slow_period=40")
    error = call(capsys, 2, *candles, "--grid", "fast_period=50,60")
    assert "fast_period < slow_period holds for none of them" in error
    error = call(capsys, 2, *candles, "--grid", "fast_period=5,6", "--where", "fast_period > 6")
    assert "fast_period > 6 holds for none of them" in error


def test_mended_candles_are_reported(capsys: pytest.CaptureFixture[str], candle_files: Path) -> None:
    """Rows that were repeated, unsorted or absent are counted for each market, in text and JSON; the rows
    are those of the mended file."""
    whole = pl.read_parquet("BTC-USDT_1m.parquet")
    spoilt = pl.concat(
        [whole[:50], whole[52:700], whole[698:700], whole[710:711], whole[700:710], whole[711:]]
    )
    spoilt.write_parquet("BTC-USDT_1m.parquet")
    asked = ["--strategy", "ema_crossover", "--grid", "fast_period=5,6", "--timeframe", "1m"]
    asked += ["--symbol", "BTC-USDT,ETH-USDT", "--candles", "{symbol}_{timeframe}.parquet"]
    found = json.loads(call(capsys, 0, *asked, "--json"))
    mended = {"duplicates": 2, "unsorted": 2, "missing": 2, "gaps": 1}
    assert mended.items() <= found["data"]["BTC-USDT 1m"].items()
    assert not any(found["data"]["ETH-USDT 1m"][name] for name in mended)
    text = call(capsys, 0, *asked)
    assert "data of BTC-USDT 1m: duplicates 2, unsorted 2, missing 2, gaps 1" in text
    assert "data of ETH-USDT" not in text
    alone = call(capsys, 0, *asked[:4], "--candles", "BTC-USDT_1m.parquet")
    assert "data of BTC-USDT_1m 1m: duplicates 2" in alone


def test_the_bar_is_on_stderr_and_json_alone_on_stdout(candle_files: Path) -> None:
    """On a terminal a bar shows the count, the rate and the time that is left; stdout is one document."""
    tcp = str(Path(sys.executable).with_name("tcp"))
    ours, theirs = pty.openpty()
    command = [tcp, "sweep", "--strategy", "rsi_reversion", "--candles", "BTC-USDT_1m.parquet", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"COLUMNS": "120", "TERM": "xterm"}
    ) as running:
        os.close(theirs)
        assert running.stdout is not None
        drawn = b""
        while True:  # before stdout, which is short: a terminal that nobody reads holds up who draws on it
            try:
                drawn += os.read(ours, 65_536)
            except OSError:  # the terminal is closed at the other end
                break
        document = json.loads(running.stdout.read())
    os.close(ours)
    count = document["combinations"]
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.decode())
    assert f"{count}/{count}" in text
    assert re.search(r"[\d,]+/s", text)
    assert re.search(r"\d:\d\d:\d\d", text)
