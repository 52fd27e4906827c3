"""`tcp backtest`, `tcp sweep`, `tcp compare` and `tcp strategies` as people and scripts call them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cli.main import main
from core.metrics import METRICS
from strategies.sample import sample_candles

SHORT = {
    "EMA_BACKTEST": "backtest --strategy ema_crossover",
    "EMA_SWEEP": "sweep --strategy ema_crossover",
}


@pytest.fixture(scope="module")
def candle_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day and a half of minutes."""
    path = tmp_path_factory.mktemp("candles") / "minutes.parquet"
    sample_candles(2_000).write_parquet(path)
    return path


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command in this process; it must succeed and write nothing to stderr. Returns stdout."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    written = capsys.readouterr()
    assert caught.value.code in (0, None), written.err
    return written.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command; it must exit with 2 and one line on stderr. Returns the line."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    written = capsys.readouterr()
    assert caught.value.code == 2
    assert written.out == ""
    assert len(written.err.strip().splitlines()) == 1
    return written.err


def test_a_backtest_is_one_json_document(capsys: pytest.CaptureFixture[str], candle_file: Path) -> None:
    """The document has what scripts rely on, and its trades add up to its final value."""
    out = call(
        capsys, "backtest", "--strategy", "EMA_Crossover", "--symbol", "BTC-USDT", "--timeframe", "1m",
        "--candles", candle_file, "--param", "fast_period=5", "--slippage", "0.0005", "--json",
    )  # fmt: skip
    document: dict[str, Any] = json.loads(out)
    assert document["strategy"] == "ema_crossover"
    assert document["params"] == {"fast_period": 5, "slow_period": 26}
    assert (document["from"], document["candles"]) == ("2026-01-01T00:00:00Z", 2_000)
    assert list(document["metrics"]) == list(METRICS)
    gained = sum(trade["pnl"] for trade in document["trades"])
    assert document["final_value"] == pytest.approx(document["initial_cash"] + gained)
    assert len(document["trades"]) == document["metrics"]["trades"] > 5
    wanted = {
        "entry_time",
        "entry_price",
        "exit_time",
        "exit_price",
        "quantity",
        "fees",
        "pnl",
        "exit_reason",
    }
    assert wanted <= set(document["trades"][0])


def test_fill_close_fills_at_the_signals_close(capsys: pytest.CaptureFixture[str], candle_file: Path) -> None:
    """With --fill close the first trade is one candle earlier, at the close that gave the signal."""
    base = ("backtest", "--strategy", "sma_crossover", "--candles", candle_file, "--fee", "0", "--json")
    candles = pl.read_parquet(candle_file)
    trade = json.loads(call(capsys, *base, "--fill", "close"))["trades"][0]
    at = candles["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%SZ").to_list().index(trade["entry_time"])
    assert trade["entry_price"] == candles["close"][at]
    later = json.loads(call(capsys, *base))["trades"][0]
    assert later["entry_time"] == trade["entry_time"]  # the next candle opens when this one closes
    assert later["entry_price"] == candles["open"][at + 1]


def test_out_writes_three_files_that_compare_reads(
    capsys: pytest.CaptureFixture[str], candle_file: Path, tmp_path: Path
) -> None:
    """--out writes result.json, trades.parquet and equity.parquet; two results stand side by side."""
    for name in ("ema_crossover", "buy_and_hold"):
        call(capsys, "backtest", "--strategy", name, "--candles", candle_file, "--out", tmp_path / name)
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == [
            "equity.parquet", "result.json", "trades.parquet",
        ]  # fmt: skip
    equity = pl.read_parquet(tmp_path / "ema_crossover" / "equity.parquet")
    assert equity.columns == ["timestamp", "equity", "close"]
    files = [tmp_path / name / "result.json" for name in ("ema_crossover", "buy_and_hold")]
    table = call(capsys, "compare", *files)
    assert "ema_crossover" in table
    assert "max_drawdown" in table
    runs = json.loads(call(capsys, "compare", files[0].parent, files[1], "--json"))["runs"]
    assert [run["strategy"] for run in runs] == ["ema_crossover", "buy_and_hold"]


def test_a_sweep_writes_a_row_a_combination(
    capsys: pytest.CaptureFixture[str], candle_file: Path, tmp_path: Path
) -> None:
    """The Parquet file has the parameters and every metric, best first."""
    out = tmp_path / "sweep.parquet"
    text = call(
        capsys, "sweep", "--strategy", "ema_crossover", "--candles", candle_file, "--sort", "total_return",
        "--grid", "fast_period=3:9:3", "--grid", "slow_period=6,12,24", "--out", out, "--json",
    )  # fmt: skip
    table = pl.read_parquet(out)
    assert table.columns == ["symbol", "timeframe", "fast_period", "slow_period", *METRICS, "error"]
    assert table.height == json.loads(text)["combinations"] == 7
    assert table["total_return"].is_sorted(descending=True)
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.parquet"]


def test_strategies_are_listed_shown_and_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """list names all, show tells parameters, check passes the shipped ones."""
    assert "bollinger_reversion" in call(capsys, "strategies", "list")
    shown = json.loads(call(capsys, "strategies", "show", "RSI_Reversion", "--json"))
    assert [parameter["name"] for parameter in shown["parameters"]][:3] == [
        "period",
        "oversold",
        "overbought",
    ]
    checked = json.loads(call(capsys, "strategies", "check", "sma_crossover", "--cuts", "10", "--json"))
    assert checked["passed"] is True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("backtest --strategy nope --candles FILE", "strategy"),
        ("EMA_BACKTEST --candles none.csv", "none.csv"),
        ("EMA_BACKTEST --candles FILE --param fast_period", "--param"),
        ("EMA_BACKTEST --candles FILE --param fast_period=30", "fast_period"),
        ("EMA_BACKTEST --candles FILE --fee -1", "fee"),
        ("EMA_BACKTEST --candles FILE --cash 0", "cash"),
        ("EMA_BACKTEST --candles FILE --fill never", "fill"),
        ("EMA_BACKTEST --candles FILE --timestamps x", "--timestamps"),
        ("EMA_BACKTEST --candles FILE --from someday", "--from"),
        ("EMA_BACKTEST --candles FILE --from 2030-01-01", "candles"),
        ("EMA_BACKTEST --candles FILE --from 9999-12-31T23:59:59-05:00", "--from"),
        ("EMA_BACKTEST --candles FILE --to 0001-01-01T00:00:00+05:00", "--to"),
        ("EMA_BACKTEST --candles FILE --from 2026-01-02 --to 2026-01-01", "--from"),
        ("EMA_BACKTEST --candles FILE --cash 1e308", "cash"),
        ("EMA_BACKTEST --timeframe 1m", "--symbol"),
        ("EMA_BACKTEST --symbol BTC-USDT --timeframe 2m", "timeframe"),
        ("sweep --strategy buy_and_hold --candles FILE", "grid"),
        ("EMA_SWEEP --candles FILE --grid fast_period=1:1e12:1", "fast_period"),
        ("EMA_SWEEP --candles FILE --grid a=1 --sort luck", "sort"),
        ("EMA_SWEEP --candles FILE --grid fast_period=5 --out /proc/none/x.parquet", "--out"),
        ("EMA_SWEEP --candles FILE --grid fast_period=5 --out FILE/x.parquet", "--out"),
        ("strategies check trend_filter --candles QUARTERS", "timeframe"),
        ("data import FILE --symbol btc-usdt --timeframe 1m", "--symbol"),
        ("data import FILE --symbol BTC-USDT --timeframe 1m --exchange x;y", "--exchange"),
        ("sweep --candles FILE --grid fast_period=1:5", "--strategy"),
        ("strategies show nope", "strategy"),
    ],
)
def test_wrong_use_is_one_line(
    capsys: pytest.CaptureFixture[str], candle_file: Path, arguments: str, said: str
) -> None:
    """A mistake is exit code 2 and one line on stderr that begins with what is wrong."""
    for short, long in SHORT.items():
        arguments = arguments.replace(short, long)
    quarters = candle_file.with_name("quarters.parquet")
    sample_candles(50, "15m").write_parquet(quarters)
    arguments = arguments.replace("FILE", str(candle_file)).replace("QUARTERS", str(quarters))
    given = arguments.split()
    assert said in refused(capsys, *given).split(": ")[1]


@pytest.mark.parametrize("metrics", ['"good"', '{"sharpe": "good"}', "[]"])
def test_compare_names_a_file_that_is_no_result(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, metrics: str
) -> None:
    """A JSON file whose metrics are no numbers is refused by name."""
    path = tmp_path / "other.json"
    named = '"id": "a", "strategy": "b", "symbol": "c", "timeframe": "1m", "params": {}'
    path.write_text(f'{{{named}, "metrics": {metrics}}}')
    assert "other.json" in refused(capsys, "compare", path)


def test_heavy_libraries_stay_out_of_a_backtest() -> None:
    """What a backtest from a file does not need (dagster, sqlalchemy, numba …) is not imported."""
    script = (
        "import sys, cli.main, cli.backtest, pipelines.backtest.run, pipelines.backtest.files, "
        "pipelines.backtest.account, strategies.registry\n"
        "strategies.registry.names()\n"
        "heavy = {'dagster', 'dash', 'plotly', 'ccxt', 'sqlalchemy', 'psycopg', 'redis', 'numba'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
