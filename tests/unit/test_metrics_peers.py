"""Metrics beside a second library: the same returns through empyrical give the same numbers."""

import math
from pathlib import Path

import empyrical
import numpy as np
import polars as pl
import pytest

from core import metrics
from core.metrics import DAY_MS, Run, summarise
from core.statistics.description import longest_run, of_market, of_returns, of_trades


@pytest.fixture
def daily(shared_data: Path) -> np.ndarray:
    """Two years of daily returns of a reference portfolio, a hundredth of them."""
    path = shared_data / "reference" / "empyrical" / "returns.csv"
    returns = pl.read_csv(path, has_header=False).to_series(-1).to_numpy() / 100
    assert returns.size == 504
    return returns


def run_of(daily: np.ndarray, pnl: np.ndarray) -> Run:
    """A run of daily candles with those returns."""
    equity = 10_000 * np.cumprod(1 + daily)
    return Run(
        initial_cash=10_000.0,
        equity=equity,
        close=equity,
        close_ms=np.arange(1, daily.size + 1, dtype=np.int64) * DAY_MS,
        candle_ms=DAY_MS,
        held=daily.size,
        pnl=pnl,
        closed=pnl.size,
        fees=0.0,
        traded=0.0,
    )


@pytest.mark.real_data
def test_metrics_are_those_of_empyrical(daily: np.ndarray) -> None:
    """Return, growth, volatility, Sharpe, Sortino, drawdown and Calmar agree to the last digits."""
    ours = summarise(run_of(daily, np.empty(0)))
    theirs = {
        "total_return": empyrical.cum_returns_final(daily),
        "cagr": empyrical.annual_return(daily, annualization=365),
        "volatility": empyrical.annual_volatility(daily, annualization=365),
        "sharpe": empyrical.sharpe_ratio(daily, annualization=365),
        "sharpe_bar": empyrical.sharpe_ratio(daily, annualization=365),
        "sortino": empyrical.sortino_ratio(daily, annualization=365),
        "max_drawdown": empyrical.max_drawdown(daily),
        "calmar": empyrical.calmar_ratio(daily, annualization=365),
    }
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, rel=1e-9)


@pytest.mark.real_data
def test_the_shape_of_returns_is_that_of_empyrical(daily: np.ndarray) -> None:
    """Value at risk, its conditional, tail ratio and omega agree, alpha and beta against a market too."""
    ours = of_returns(daily)
    assert ours["value_at_risk"] == pytest.approx(empyrical.value_at_risk(daily))
    assert ours["conditional_value_at_risk"] == pytest.approx(empyrical.conditional_value_at_risk(daily))
    assert ours["tail_ratio"] == pytest.approx(empyrical.tail_ratio(daily))
    assert ours["omega"] == pytest.approx(empyrical.omega_ratio(daily))
    market = np.random.default_rng(1).normal(0, 0.01, daily.size) + daily / 2
    found = of_market(daily, market, 365)
    assert found["beta"] == pytest.approx(empyrical.beta(daily, market))
    assert found["alpha"] == pytest.approx(empyrical.alpha(daily, market, annualization=365), rel=1e-6)


EDGES: dict[str, tuple[list[float], list[float], dict[str, float | None]]] = {
    "one day": ([100.0], [], {"sharpe": None, "win_rate": None, "sqn": None, "max_drawdown": 0.0}),
    "no trades": ([100.0] * 3, [], {"sharpe": None, "volatility": 0.0, "expectancy": None}),
    "one trade, no loss": ([101.0, 103.0], [3.0], {"sqn": None, "profit_factor": None, "win_rate": 1.0}),
    "no losing day": ([101.0, 103.0], [], {"sortino": None, "calmar": None}),
    "zero variance": (
        [101.0, 102.01, 103.0301],
        [1.0, 1.0],
        {"sharpe": None, "sharpe_bar": None, "sqn": None},
    ),
    "a trade of zero": ([100.0, 100.0], [0.0], {"win_rate": 0.0, "profit_factor": None, "expectancy": 0.0}),
    "no gain": ([90.0, 80.0], [-20.0], {"profit_factor": 0.0, "win_rate": 0.0}),
    "wiped out": (
        [50.0, 0.0, 0.0],
        [-100.0],
        {"total_return": -1.0, "cagr": -1.0, "max_drawdown": -1.0, "calmar": -1.0},
    ),
}


@pytest.mark.parametrize("case", EDGES)
def test_edges_are_defined(case: str) -> None:
    """What cannot be said is None, a total loss is −1, and nothing is NaN or infinite."""
    equity, pnl, expected = EDGES[case]
    close_ms = np.arange(1, len(equity) + 1, dtype=np.int64) * DAY_MS
    array = np.array(equity)
    run = Run(
        100.0, array, np.maximum(array, 1.0), close_ms, DAY_MS, 0, np.array(pnl, np.float64), 0, 0.0, 0.0
    )
    found = summarise(run)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert all(value is None or math.isfinite(value) for value in found.values())


def test_nothing_is_earned_after_everything_is_lost() -> None:
    """The returns of an account at zero are zero."""
    assert metrics.returns(np.array([50.0, 0.0, 0.0]), 100.0).tolist() == [-0.5, -1.0, 0.0]


def test_trades_one_by_one_by_hand() -> None:
    """Two wins of 3 on average, two losses of 2: payoff 1.5, Kelly 1/6, two losses in a row."""
    found = of_trades(np.array([4.0, -1.0, -3.0, 2.0]), np.array([60.0, 60.0, 120.0, 0.0]))
    assert (found["payoff_ratio"], found["losing_streak"], found["winning_streak"]) == (1.5, 2, 1)
    assert found["kelly"] == pytest.approx(0.5 - 0.5 / 1.5)
    assert found["average_holding"] == 60
    assert of_trades(np.empty(0), np.empty(0))["payoff_ratio"] is None
    assert longest_run(np.array([True, True, False, True])) == 2


def test_ulcer_index_by_hand() -> None:
    """Drawdowns of 0, 10 % and 10 %: the root of the mean square is 8.16 %."""
    assert of_returns(np.array([0.5, -0.1, 0.0]))["ulcer_index"] == pytest.approx(math.sqrt(0.02 / 3))
