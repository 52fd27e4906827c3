"""`tcp backtest` and `tcp sweep` with exits and sizes."""

import json
from pathlib import Path

import polars as pl
import pytest

from cli.main import main
from cli.research_options import GATE, RISK
from config.files import RiskFile
from config.limits import BotLimits
from core.errors import BadInput
from pipelines.backtest.request import BacktestRequest
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
        ("--max-candles 999999999999999", "risk.max_candles"),
        ("--sizing kelly", "risk.sizing"),
        ("--sizing risk --size 0.01", "sizing"),
        ("--sizing risk --stop-loss 0.01", "size"),
        ("--sizing percent", "size"),
        ("--size 5", "size"),
        ("--cooldown-candles -1", "risk.cooldown_candles"),
        ("--cooldown-candles 1 --cooldown-minutes 1", "cooldown_minutes"),
        ("--max-order-value 10 --max-position-value 5", "max_order_value"),
        ("--max-orders-per-hour 9 --max-orders-per-day 3", "max_orders_per_hour"),
        ("--halt-until-reset", "halt_until_reset"),
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


def test_every_limit_that_candles_decide_has_an_option() -> None:
    """The gate of a bot file can be typed; the age of data, which a clock decides, has no option."""
    assert set(BotLimits.model_fields) - {"max_data_age_s"} == {*GATE, "max_daily_loss", "max_drawdown"}


def test_a_swept_row_can_be_backtested() -> None:
    """Every field of a risk block that a sweep can vary has an option of the same name."""
    assert set(RISK) == set(Risk.model_fields) - {"max_data_age_s"}


def test_volatility_is_measured_over_as_many_candles(
    capsys: pytest.CaptureFixture[str], candle_file: Path, tmp_path: Path
) -> None:
    """A row that varies them is the backtest with the option, and another than that of the default."""
    base = (
        "--strategy",
        "ema_crossover",
        "--candles",
        candle_file,
        "--sizing",
        "volatility",
        "--size",
        "0.3",
    )
    out = tmp_path / "sweep.parquet"
    call(capsys, 0, "sweep", *base, "--grid", "volatility_candles=50,100", "--out", out, "--json")
    rows = dict(pl.read_parquet(out).select("volatility_candles", "total_return").iter_rows())
    for option in (("--volatility-candles", "50"), ()):
        single = json.loads(call(capsys, 0, "backtest", *base, "--json", *option))
        row = rows.pop(50 if option else 100)
        assert row == pytest.approx(single["metrics"]["total_return"], rel=1e-9)
        assert row != pytest.approx(next(iter(rows.values()), 0.0), rel=1e-6)


def test_the_gate_holds_in_a_backtest(capsys: pytest.CaptureFixture[str], candle_file: Path) -> None:
    """At most one order a day, or a small first one, is what the trades show."""
    base = ("backtest", "--strategy", "ema_crossover", "--candles", candle_file, "--json")
    free = json.loads(call(capsys, 0, *base))["trades"]
    rare = json.loads(call(capsys, 0, *base, "--max-orders-per-day", "2"))["trades"]
    assert len(free) > 3 * len(rare) > 0
    small = json.loads(call(capsys, 0, *base, "--max-order-value", "500"))["trades"]
    assert all(trade["quantity"] * trade["entry_price"] < 500 for trade in small)
    assert len(small) == len(free)


def test_a_limit_that_has_no_meaning_in_a_backtest_is_refused() -> None:
    """The message names the field and says to leave it out."""
    market = {"strategy": "x", "symbol": "BTC-USDT", "timeframe": "1m"}
    with pytest.raises(BadInput, match=r"max_data_age_s: has no meaning in a backtest.*leave it out"):
        BacktestRequest.read(market | {"risk": {"max_data_age_s": 5}})


def test_a_bots_risk_block_is_a_backtests() -> None:
    """Every field of a bot file's block is one of a backtest's."""
    assert set(RiskFile.model_fields) <= set(Risk.model_fields)
