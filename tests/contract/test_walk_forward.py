"""Walk-forward: what its choices may know, and the record it leaves."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from math import log1p
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.errors import BadInput
from pipelines.backtest.engine import run
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from pipelines.walk_forward.result import WalkForwardResult
from pipelines.walk_forward.run import execute_walk_forward
from pipelines.walk_forward.stability import efficiency, overfitting, rank, stability
from pipelines.walk_forward.stitch import liquidated
from pipelines.walk_forward.windows import parse
from strategies.registry import build
from strategies.sample import sample_candles

START = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GRID: dict[str, Any] = {"fast_period": [5, 10, 20], "slow_period": [30, 60]}


def test_efficiency_by_hand() -> None:
    """21 % in 20 days of training and 10 % in 20 days of tests is half the growth rate."""
    trained, tested = [0.1, 0.1], [0.1, 0.0]
    assert efficiency(trained, tested, 20, 20) == pytest.approx(0.5)
    assert efficiency(trained, tested, 20, 10) == pytest.approx(1.0)
    assert efficiency(tested[1:], tested, 20, 20) is None
    assert efficiency([-0.5], tested, 20, 20) is None
    assert efficiency([None], tested, 20, 20) is None


def test_stability_by_hand() -> None:
    """10, 10, 20: two of three chose 10, one of two changes, a deviation of 43 % of the mean."""
    found = stability([{"p": 10, "s": "a"}, {"p": 10, "s": "a"}, {"p": 20, "s": "a"}])
    assert (found["p"]["most_common"], found["p"]["share"], found["p"]["changes"]) == (10, 2 / 3, 0.5)
    assert found["p"]["variation"] == pytest.approx(5.7735 / 13.3333, abs=1e-4)
    assert found["s"] == {
        "values": ["a"] * 3,
        "most_common": "a",
        "share": 1,
        "changes": 0,
        "variation": None,
    }


def test_rank_and_overfitting_by_hand() -> None:
    """The best of five has rank 1, the middle one a half; undefined is worse than all."""
    assert rank(5.0, [1.0, 2.0, 3.0, 4.0, 5.0]) == 1
    assert rank(3.0, [1.0, 2.0, 3.0, 4.0, 5.0]) == 0.5
    assert rank(3.0, [3.0, 3.0, None], True) == 0.75
    assert rank(1.0, [1.0, 2.0], descending=False) == 1
    assert rank(None, [1.0, 2.0]) is None
    assert overfitting([1.0, 0.5, 0.2, None]) == pytest.approx(2 / 3)
    assert overfitting([None]) is None


@pytest.fixture(scope="module")
def candles() -> pl.DataFrame:
    """Eight days of minutes."""
    return sample_candles(8 * 1440)


def walked(
    candles: pl.DataFrame, text: str = "rolling:train=3d,test=1d", **options: Any
) -> WalkForwardResult:
    """An EMA crossover walked over them."""
    values = {
        "strategy": "ema_crossover",
        "grid": GRID,
        "symbol": "BTC-USDT",
        "timeframe": "1m",
        "slippage": 2e-4,
    }
    return execute_walk_forward(SweepRequest(**values | options), parse(text), candles=candles)


@pytest.fixture(scope="module")
def result(candles: pl.DataFrame) -> WalkForwardResult:
    """Rolling, three days for one."""
    return walked(candles)


def test_each_choice_is_the_best_of_its_training(candles: pl.DataFrame, result: WalkForwardResult) -> None:
    """The parameters of a window are those whose single backtest over the training has the highest Sharpe."""
    window = result.windows[1]
    (span,) = window.window.train
    best: dict[tuple[int, int], float] = {}
    for fast in GRID["fast_period"]:
        for slow in GRID["slow_period"]:
            request = BacktestRequest(
                strategy="ema_crossover", symbol="BTC-USDT", timeframe="1m", slippage=2e-4,
                parameters={"fast_period": fast, "slow_period": slow}, start=span.start, end=span.end,
            )  # fmt: skip
            best[fast, slow] = float(execute(request, candles=candles).metrics["sharpe"] or -1e9)
    assert tuple(window.parameters.values()) == max(best, key=lambda pair: best[pair])
    assert window.score == pytest.approx(max(best.values()), rel=1e-9)


def test_nothing_of_a_test_reaches_its_choice(candles: pl.DataFrame, result: WalkForwardResult) -> None:
    """With other prices from the second test on, the first two choices and the first test stay the same."""
    cut = result.windows[1].window.test.start
    scale = pl.when(pl.col("timestamp") > cut).then(1.7).otherwise(1.0)
    changed = candles.with_columns(pl.col(name) * scale for name in ("open", "high", "low", "close"))
    volume = pl.when(pl.col("timestamp") > cut).then(1.0).otherwise("volume")
    other = walked(changed.with_columns(volume=volume))
    assert [w.parameters for w in other.windows[:2]] == [w.parameters for w in result.windows[:2]]
    assert other.windows[0].test == result.windows[0].test
    assert other.windows[1].test != result.windows[1].test


def test_a_test_is_warmed_up_by_what_lies_before(candles: pl.DataFrame, result: WalkForwardResult) -> None:
    """A test's trades are those of a single backtest over it with all history before, up to the last one,
    which is sold at the end."""
    window = result.windows[0]
    span = window.window.test
    request = BacktestRequest(
        strategy="ema_crossover", symbol="BTC-USDT", timeframe="1m", slippage=2e-4,
        parameters=window.parameters, start=span.start, end=span.end,
    )  # fmt: skip
    alone = execute(request, candles=candles).trades
    inside = result.record.trades.filter(pl.col("exit_time") <= span.end)
    assert inside.height == alone.height > 2
    assert inside.head(-1).equals(alone.head(-1))
    assert inside["entry_time"][-1] == alone["entry_time"][-1]


WALK = "rolling:train=10h,test=8h"
SIZER = '''"""Follows a short line and sizes itself by a long memory."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from strategies.base import VectorStrategy
from strategies.indicators.averages import ema
from strategies.indicators.base import Indicator
from strategies.parameters import Parameters, parameter


class SizerParameters(Parameters):
    """Of the line."""

    period: int = parameter(5, "Length of the line, candles", low=2, high=50, search=(2, 6, 1))


class Sizer(VectorStrategy[SizerParameters]):
    """Its sizes look back much further than its signals."""

    @property
    def sizes(self) -> Mapping[str, Any]:
        """Of five hours of volatility."""
        return {"sizing": "volatility", "size": 0.3, "volatility_candles": 300}

    def indicators(self) -> dict[str, Indicator]:
        """The line."""
        return {"line": ema(self.parameters.period)}

    def buy(self) -> pl.Expr:
        """Above it."""
        return pl.col("close") > pl.col("line")

    def sell(self) -> pl.Expr:
        """Below it."""
        return pl.col("close") < pl.col("line")
'''


def test_a_strategy_that_sizes_itself_is_tested_with_its_sizes(tmp_path: Path, candles: pl.DataFrame) -> None:
    """A test reads as many candles before it as the sizes need, not only those of the signals: its trades
    are those of the backtest over the same span."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sizer.py").write_text(SIZER)
    candles.head(1_600).write_parquet(tmp_path / "candles.parquet")

    def tcp(command: str, *arguments: str) -> dict[str, Any]:
        own = os.environ | {"TCP_STRATEGIES_DIR": str(tmp_path / "own")}
        line = [sys.executable, "-m", "cli.main", command, "--strategy", "sizer", "--json", *arguments]
        line += ["--candles", str(tmp_path / "candles.parquet")]
        run = subprocess.run(line, capture_output=True, cwd=ROOT, env=own)
        assert run.returncode == 0, run.stderr.decode()
        document: dict[str, Any] = json.loads(run.stdout)
        return document

    found = tcp("sweep", "--grid", "period=5,6", "--walk-forward", WALK, "--sort", "total_return")
    (window, *_) = found["windows"]
    period, span = window["parameters"]["period"], window["test"]
    alone = tcp("backtest", "--param", f"period={period}", "--from", span["from"], "--to", span["to"])
    assert alone["metrics"]["trades"] > 10
    inside = [trade for trade in found["trades"] if trade["exit_time"] <= span["to"]]
    for one, two in zip(inside[:-1], alone["trades"][:-1], strict=True):
        assert one == two


def test_the_record_adds_up(result: WalkForwardResult) -> None:
    """Tests chain into one account: returns multiply, trades and fees sum, the curve has no hole."""
    record = result.record
    assert len(result.windows) == 5
    growth = sum(log1p(float(w.test["total_return"] or 0)) for w in result.windows)
    assert log1p(float(record.metrics["total_return"] or 0)) == pytest.approx(growth)
    assert record.final_value == pytest.approx(10_000 + record.trades["pnl"].sum())
    assert record.metrics["fees"] == pytest.approx(record.trades["fees"].sum())
    assert record.metrics["trades"] == sum(int(w.test["trades"] or 0) for w in result.windows)
    assert set(record.equity["timestamp"].diff().drop_nulls()) == {MINUTE}
    assert record.candles == 5 * 1440
    assert "end" not in record.trades["exit_reason"]


def test_a_position_at_a_tests_end_pays_for_its_exit(candles: pl.DataFrame) -> None:
    """What is open at the end of a test is sold at its last close less the slippage, for a fee."""
    found = walked(candles, strategy="sma_crossover")
    sold = found.record.trades.filter(pl.col("exit_reason") == "window")
    assert sold.height > 0
    closes = dict(candles.select("timestamp", "close").iter_rows())
    for row in sold.iter_rows(named=True):
        assert row["exit_price"] == pytest.approx(closes[row["exit_time"]] * (1 - 2e-4))
        sold_for = row["quantity"] * row["exit_price"]
        assert row["fees"] == pytest.approx(0.001 * (row["quantity"] / 0.999 * row["entry_price"] + sold_for))
    assert found.record.final_value == pytest.approx(10_000 + found.record.trades["pnl"].sum())


def test_coins_that_were_sold_already_are_not_sold_again() -> None:
    """Where an exit was under way at a test's end, only what is still held pays for a sale: cash and coins
    add up to the last digit, and the exit's price is the mean of all sales."""
    times = [START + (n + 1) * MINUTE for n in range(20)]
    flat = dict.fromkeys(("open", "high", "low", "close"), 100.0)
    frame = pl.DataFrame({"timestamp": times, **flat, "volume": [10_000.0] * 6 + [10.0] * 14})
    frame = frame.with_columns(pl.col("timestamp").cast(pl.Datetime("us", "UTC")))
    market = BacktestRequest.read(
        {
            "strategy": "buy_and_hold",
            "symbol": "BTC-USDT",
            "timeframe": "1m",
            "risk": {"max_candles": 6},
            "execution": {"volume_share": 0.1, "spread": 0.5},
            "slippage": 0.01,
        }
    )
    outcome = run(build("buy_and_hold", {}, "1m"), frame, market)
    bought = outcome.trades["quantity"][0]
    assert 0 < outcome.left < bought
    got = (100 - 0.25) * 0.99  # spread and slippage of every sale
    ended = liquidated(outcome, market)
    trade = ended.trades.row(0, named=True)
    assert ended.final_value == pytest.approx(bought * got * 0.999, rel=1e-12)
    assert trade["pnl"] == pytest.approx(ended.final_value - market.cash, rel=1e-9)
    assert trade["exit_price"] == pytest.approx(got, rel=1e-12)
    assert trade["fees"] == pytest.approx(market.cash * 0.001 + bought * got * 0.001, rel=1e-9)
    assert ended.metrics["turnover"] == pytest.approx(1 + bought * got / market.cash, rel=1e-9)
    assert ended.left == 0


def test_costs_hurt_the_record(result: WalkForwardResult) -> None:
    """The record without costs is better than with them, and with twice the costs worse; the middle row is
    the record itself."""
    free, own, twice = (row["total_return"] for row in (result.record.validation or {})["costs"])
    assert free > own > twice
    assert own == pytest.approx(result.record.metrics["total_return"])


def test_purged_and_anchored_walks_have_records_too(candles: pl.DataFrame) -> None:
    """Purged tests cover all candles, trained on both sides; anchored ones all after the first training."""
    purged = walked(candles, "purged:folds=4,purge=1h,embargo=1h")
    assert purged.record.candles == candles.height
    assert [len(w.window.train) for w in purged.windows] == [1, 2, 2, 1]
    anchored = walked(candles, "anchored:train=4d,test=2d", sort="total_return")
    assert anchored.record.candles == 4 * 1440
    assert anchored.windows[1].window.train[0].start == anchored.windows[0].window.train[0].start


def test_the_score_of_two_stretches_is_their_weighted_mean(candles: pl.DataFrame) -> None:
    """In a fold between two trainings a combination's score is the mean of both, weighted by length."""
    found = walked(candles, "purged:folds=4", sort="total_return").windows[1]
    scores = []
    for span in found.window.train:
        request = BacktestRequest(
            strategy="ema_crossover", symbol="BTC-USDT", timeframe="1m", slippage=2e-4,
            parameters=found.parameters, start=span.start, end=span.end,
        )  # fmt: skip
        scores.append(execute(request, candles=candles).metrics["total_return"])
    assert found.score == pytest.approx(scores[0] / 3 + scores[1] * 2 / 3)  # type: ignore[operator]


def test_efficiency_counts_both_stretches_of_a_purged_training(candles: pl.DataFrame) -> None:
    """Growth and time of a training are those of the same stretches, before the test and after it."""
    free: dict[str, Any] = {"fee": 0.0, "slippage": 0.0}
    found = walked(candles, "purged:folds=4", sort="total_return", **free)
    grown = length = 0.0
    for window in found.windows:
        for span in window.window.train:
            request = BacktestRequest(
                strategy="ema_crossover", symbol="BTC-USDT", timeframe="1m", **free,
                parameters=window.parameters, start=span.start, end=span.end,
            )  # fmt: skip
            grown += log1p(float(execute(request, candles=candles).metrics["total_return"] or 0))
            length += (span.end - span.start).total_seconds()
    came = sum(log1p(float(w.test["total_return"] or 0)) for w in found.windows)
    tested = sum((w.window.test.end - w.window.test.start).total_seconds() for w in found.windows)
    assert grown > 0
    assert found.efficiency == pytest.approx((came / tested) / (grown / length))
    table = found.table()
    assert table["train_end"][1] == table["test_start"][1]
    assert table["train_2_start"][1] == table["test_end"][1]
    assert table["train_2_start"].null_count() == 2


def test_without_a_database_the_number_of_trials_is_not_known(result: WalkForwardResult) -> None:
    """Nobody knows of the walk-forwards before this one: nothing is deflated by a made-up number of them."""
    sharpe = (result.record.validation or {})["sharpe"]
    assert sharpe["trials"] is None
    assert sharpe["deflated"] is None


def test_exits_can_be_walked(candles: pl.DataFrame) -> None:
    """A stop in the grid is chosen like a parameter and applied in the test."""
    found = walked(candles, grid={"fast_period": [5, 10], "stop_loss": [0.001, 0.002]})
    assert {"fast_period", "stop_loss"} == set(found.windows[0].parameters)
    assert "stop_loss" in set(found.record.trades["exit_reason"])


def test_the_windows_are_data(result: WalkForwardResult) -> None:
    """A row a window in a table, the same in the JSON, and the document of a backtest around it."""
    table = result.table()
    assert table.height == len(result.windows)
    assert {"train_start", "test_end", "fast_period", "train_sharpe", "test_sharpe", "test_rank"} <= set(
        table.columns
    )
    document = json.loads(json.dumps(result.to_document(), allow_nan=False))
    assert document["windows"][0]["train"][0]["from"] == "2026-01-01T00:00:00Z"
    assert document["windows"][2]["parameters"] == result.windows[2].parameters
    assert document["walk_forward"]["combinations"] == 6
    assert document["metrics"]["trades"] == len(document["trades"])
    assert document["validation"]["sharpe"]["trials"] is None


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("rolling:train=12h,test=1d", {}, "no combination has a sharpe"),
        ("rolling:train=3d,test=1d", {"symbol": "A-B,C-D"}, "one symbol"),
        ("purged:folds=3", {"search": "optuna"}, "optuna"),
        ("rolling:train=30d,test=1d", {}, "fit into 8d"),
    ],
)
def test_a_walk_that_cannot_be_is_one_line(
    candles: pl.DataFrame, text: str, options: dict[str, Any], said: str
) -> None:
    """What is missing is named with its remedy."""
    with pytest.raises(BadInput) as caught:
        walked(candles, text, **options)
    assert said in caught.value.message


@pytest.mark.parametrize("options", [{}, {"risk": {"stop_loss": 0.5}}, {"execution": {"volume_share": 0.5}}])
def test_a_silent_stretch_of_candles_with_volumes_is_silent(options: dict[str, Any]) -> None:
    """Whether volumes are known is a matter of all candles, not of those that are traded: nothing is filled
    where nobody traded, by a backtest, a row of a sweep or the test of a walk-forward."""
    half = 1_500
    voiced = pl.when(pl.int_range(pl.len()) < half).then("volume").otherwise(0.0)
    silent = sample_candles(2 * half).with_columns(volume=voiced)
    begin = silent["timestamp"][half - 1]
    market = {"symbol": "BTC-USDT", "timeframe": "1m", "strategy": "ema_crossover"} | options
    known = {"fast_period": 5, "slow_period": 20}
    grid = {name: [value] for name, value in known.items()}

    def trades(candles: pl.DataFrame) -> list[Any]:
        single = execute(
            BacktestRequest.read(market | {"parameters": known, "start": begin}), candles=candles
        )
        swept = execute_sweep(SweepRequest.read(market | {"grid": grid, "start": begin}), candles=candles)
        return [single.metrics["trades"], swept["trades"][0]]

    assert trades(silent) == [0, 0]
    walk = parse(f"rolling:train={half}m,test={half}m")
    request = SweepRequest.read(market | {"grid": grid, "sort": "total_return"})
    found = execute_walk_forward(request, walk, candles=silent)
    assert [window.test["trades"] for window in found.windows] == [0]
    if "execution" not in options:  # which needs volumes
        one, two = trades(silent.with_columns(volume=0.0))
        assert one == two > 0
