"""Trials, walk-forwards and comparisons in and from a real PostgreSQL."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import func, select

from core.metrics import returns
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.backtest.saved import read_equity, read_runs
from pipelines.backtest.store import EQUITY_POINTS, thinned
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from pipelines.validation.compare import Record, compare
from pipelines.walk_forward.run import execute_walk_forward
from pipelines.walk_forward.windows import parse
from pipelines.warehouse import tables
from pipelines.warehouse.database import engine
from pipelines.warehouse.trials import read_trials, read_walk_forwards
from strategies.sample import sample_candles

MARKET: dict[str, Any] = {"symbol": "BTC-USDT", "timeframe": "1m"}
FAMILY = ("ema_crossover", "BTC-USDT", "1m")
GRID: dict[str, Any] = {"fast_period": [2, 4], "slow_period": [8, 20]}


@pytest.fixture(scope="module")
def days() -> pl.DataFrame:
    """Five days of minutes, not stored."""
    return sample_candles(5 * 1440)


def backtest(database_url: str, days: pl.DataFrame, **parameters: int) -> Any:
    """An EMA crossover over them, kept."""
    request = BacktestRequest(strategy="ema_crossover", parameters=parameters, **MARKET)
    return execute(request, database_url, candles=days, validate=True)


def test_every_distinct_variant_is_a_trial(database_url: str, days: pl.DataFrame) -> None:
    """Backtests and rows of sweeps count, a repeated one once, another market's not; the run itself does."""
    assert read_trials(engine(database_url), *FAMILY, {"fast_period": 1}) == (1, None)
    first = backtest(database_url, days, fast_period=5)
    assert first.validation["sharpe"]["trials"] == 1
    again = backtest(database_url, days, fast_period=5)
    assert again.validation["sharpe"]["trials"] == 1
    other = backtest(database_url, days, fast_period=6)
    assert other.validation["sharpe"]["trials"] == 2
    table = execute_sweep(SweepRequest(strategy="ema_crossover", grid=GRID, **MARKET), database_url, days)
    elsewhere: dict[str, Any] = {"symbol": "ETH-USDT", "timeframe": "1m"}
    execute_sweep(SweepRequest(strategy="ema_crossover", grid=GRID, **elsewhere), database_url, days)
    count, deviation = read_trials(engine(database_url), *FAMILY, first.parameters)
    assert count == 2 + table.height == 6
    ratios = [first.metrics["sharpe"], other.metrics["sharpe"], *table["sharpe"]]
    assert deviation == pytest.approx(np.std(ratios, ddof=1))


def test_a_strategys_own_sizes_make_no_other_trial(database_url: str, days: pl.DataFrame) -> None:
    """A backtest of a strategy that sizes itself and the row of a sweep with the same parameters are one
    variant; with a size that somebody chose it is another."""
    family = ("volatility_target", "BTC-USDT", "1m")
    parameters = {"period": 60, "target": 0.5, "band": 0.25}
    market = MARKET | {"strategy": "volatility_target"}
    grid = {name: [value] for name, value in parameters.items()}
    execute_sweep(SweepRequest.read(market | {"grid": grid}), database_url, days)
    for risk, trials in ((None, 1), ({"stop_loss": 0.01}, 2), ({"sizing": "percent", "size": 0.5}, 3)):
        execute(BacktestRequest.read(market | {"parameters": parameters, "risk": risk}), database_url, days)
        assert read_trials(engine(database_url), *family, parameters)[0] == trials
    varied = {"grid": grid | {"stop_loss": [0.01]}}
    execute_sweep(SweepRequest.read(market | varied), database_url, days)
    assert read_trials(engine(database_url), *family, parameters)[0] == 3


def test_another_exchange_is_another_market(database_url: str, days: pl.DataFrame) -> None:
    """What was tried on one exchange's candles says nothing of another's."""
    backtest(database_url, days, fast_period=5)
    request = SweepRequest(strategy="ema_crossover", grid=GRID, exchange="binance", **MARKET)
    execute_sweep(request, database_url, days)
    walk = request.model_copy(update={"exchange": "kraken"})
    execute_walk_forward(walk, parse("rolling:train=2d,test=1d"), database_url, days)
    counted = {
        name: read_trials(engine(database_url), *FAMILY, {}, name)[0] for name in ("binance", "kraken")
    }
    assert read_trials(engine(database_url), *FAMILY, {})[0] == 1 + 1
    assert counted == {"binance": 4 + 1, "kraken": 4 + 1}
    walked = {n: read_walk_forwards(engine(database_url), *FAMILY, n)[0] for n in (None, "kraken")}
    assert walked == {None: 0, "kraken": 1}


def test_a_purged_walk_keeps_both_stretches(database_url: str, days: pl.DataFrame) -> None:
    """The window in the middle was trained before its test and after it, and its rows say so."""
    request = SweepRequest(strategy="ema_crossover", grid=GRID, **MARKET)
    execute_walk_forward(request, parse("purged:folds=3"), database_url, days)
    with engine(database_url).connect() as connection:
        first, middle, _ = connection.execute(select(tables.walk_forward_windows).order_by("n")).all()
    assert (first.train_2_start, first.train_2_end) == (None, None)
    assert (
        middle.train_end == middle.test_start < middle.test_end == middle.train_2_start < middle.train_2_end
    )


def test_exits_and_execution_options_are_trials(database_url: str, days: pl.DataFrame) -> None:
    """A run with other exits or other orders is another variant; the row of a sweep with the same ones is
    not, whether its sweep varied them or kept them."""
    base: dict[str, Any] = {"strategy": "ema_crossover", **MARKET}
    for options in (
        {},
        {"risk": {"stop_loss": 0.01}},
        {"execution": {"order": "limit", "offset": 0.002}},
        {"execution": {"order": "limit", "offset": 0.001}, "risk": {"stop_loss": 0.01}},
    ):
        execute(BacktestRequest.read(base | options), database_url, candles=days)

    def trials() -> int:
        plain = execute(BacktestRequest.read(base), candles=days, save=False).parameters
        return read_trials(engine(database_url), *FAMILY, plain)[0]

    assert trials() == 4
    limit: dict[str, Any] = {"execution": {"order": "limit", "offset": 0.002}}
    execute_sweep(SweepRequest.read(base | limit | {"grid": {"fast_period": "12"}}), database_url, days)
    assert trials() == 4
    grid = {"stop_loss": "none,0.01", "offset": "0.001,0.002"}
    execute_sweep(
        SweepRequest.read(base | {"grid": grid, "execution": {"order": "limit"}}), database_url, days
    )
    assert trials() == 4 + 2  # a limit at 0.001 without a stop, one at 0.002 with one


def test_a_walk_forward_is_kept_whole(database_url: str, days: pl.DataFrame) -> None:
    """The record is a run of its own kind with trades and equity, the windows are rows, and later backtests
    count what was tried in it."""
    request = SweepRequest(strategy="ema_crossover", grid=GRID, **MARKET)
    result = execute_walk_forward(request, parse("rolling:train=2d,test=1d"), database_url, days)
    with engine(database_url).connect() as connection:
        run = connection.execute(select(tables.strategy_runs)).one()
        windows = connection.execute(select(tables.walk_forward_windows).order_by("n")).all()
        trades = connection.execute(select(func.count()).select_from(tables.backtest_trades)).scalar_one()
    assert (run.id, run.kind) == (result.record.id, "walk_forward")
    assert run.parameters["walk_forward"]["mode"] == "rolling"
    assert run.metrics == result.record.metrics
    assert run.validation == result.record.validation
    assert trades == result.record.trades.height
    assert [row.parameters for row in windows] == [w.parameters for w in result.windows]
    assert [row.test_start for row in windows] == [w.window.test.start for w in result.windows]
    assert [row.test_metrics for row in windows] == [w.test for w in result.windows]
    assert read_trials(engine(database_url), *FAMILY, {})[0] == 1 + 4
    assert read_walk_forwards(engine(database_url), *FAMILY)[0] == 1
    again = execute_walk_forward(request, parse("rolling:train=2d,test=1d"), database_url, days)
    assert (again.record.validation or {})["sharpe"]["trials"] == 2


def test_stored_runs_compare_as_their_files_do(database_url: str, days: pl.DataFrame) -> None:
    """A thinned curve has the hours' returns of the whole one, so the p-values are the same."""
    results = [backtest(database_url, days, fast_period=fast) for fast in (5, 9)]
    ids = [result.id for result in results]
    stored = [
        Record(document, read_equity(run, database_url))
        for run, document in zip(ids, read_runs(ids, database_url), strict=True)
    ]
    whole = [Record(result.to_document(), result.equity) for result in results]
    assert stored[0].equity is not None
    assert stored[0].equity.height <= EQUITY_POINTS < days.height
    assert compare(stored) == compare(whole)
    assert compare(stored, "buy_and_hold") == compare(whole, "buy_and_hold")


def test_a_walk_forward_can_be_compared(database_url: str, days: pl.DataFrame) -> None:
    """Its id stands beside that of a backtest."""
    request = SweepRequest(strategy="ema_crossover", grid=GRID, **MARKET)
    walked = execute_walk_forward(request, parse("rolling:train=2d,test=1d"), database_url, days).record.id
    ids = [walked, backtest(database_url, days, fast_period=5).id]
    documents = read_runs(ids, database_url)
    assert [document["id"] for document in documents] == ids
    found = compare([Record(d, read_equity(d["id"], database_url)) for d in documents])
    assert found["observations"] == 72  # its tests begin on the hour


def test_a_long_curve_keeps_its_days() -> None:
    """Of a year of minutes the days' returns stay exact."""
    candles = sample_candles(365 * 1440)
    curve = candles.select("timestamp", equity="close", close="close")
    kept = thinned(curve)
    assert kept.height <= EQUITY_POINTS

    def daily(frame: pl.DataFrame) -> list[float]:
        by_day = frame.group_by(pl.col("timestamp").dt.offset_by("-1us").dt.date(), maintain_order=True)
        return returns(by_day.agg(pl.col("equity").last())["equity"].to_numpy(), 100.0).tolist()

    assert daily(kept) == daily(curve)
