"""Edges of the metrics, and what describes a run beyond them, by hand."""

import math

import numpy as np
import pytest

from core import metrics
from core.metrics import DAY_MS, Run, summarise
from core.statistics.description import longest_run, of_returns, of_trades

EDGES: dict[str, tuple[list[float], list[float], dict[str, float | None]]] = {
    "one day": ([100.0], [], {"sharpe": None, "win_rate": None, "sqn": None, "max_drawdown": 0.0}),
    "no trades": ([100.0] * 3, [], {"sharpe": None, "volatility": 0.0, "expectancy": None}),
    "one trade, no loss": ([101.0, 103.0], [3.0], {"sqn": None, "profit_factor": None, "win_rate": 1.0}),
    "no losing day": ([101.0, 103.0], [], {"sortino": None, "calmar": None}),
    "equal returns": ([100 * 1.01**n for n in range(1, 30)], [], {"sharpe": None, "sharpe_bar": None}),
    "equal trades": ([101.0, 102.0], [1.0, 1.0], {"sqn": None}),
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


def test_a_hole_in_the_candles_is_time_that_passed() -> None:
    """Ten per cent in 73 days are 61 % a year, with a candle of every day and with two of them."""
    for days in (range(1, 74), (1, 73)):
        close_ms = np.array(days, np.int64) * DAY_MS
        equity = np.linspace(100.0, 110.0, close_ms.size)
        run = Run(100.0, equity, equity, close_ms, DAY_MS, 0, np.empty(0), 0, 0.0, 0.0)
        assert summarise(run)["cagr"] == pytest.approx(1.1**5 - 1)


def test_nothing_is_earned_after_everything_is_lost() -> None:
    """The returns of an account at zero are zero."""
    assert metrics.returns(np.array([50.0, 0.0, 0.0]), 100.0).tolist() == [-0.5, -1.0, 0.0]


def test_trades_one_by_one_by_hand() -> None:
    """Three wins of 3 on average, two losses of 2: payoff 1.5, Kelly 1/3, two losses in a row."""
    found = of_trades(np.array([4.0, -1.0, -3.0, 2.0, 3.0]), np.array([60.0, 60.0, 120.0, 0.0, 60.0]))
    assert (found["payoff_ratio"], found["losing_streak"], found["winning_streak"]) == (1.5, 2, 2)
    assert found["kelly"] == pytest.approx(0.6 - 0.4 / 1.5)
    assert found["average_holding"] == 60
    assert of_trades(np.empty(0), np.empty(0))["payoff_ratio"] is None
    assert longest_run(np.array([True, True, False, True])) == 2


def test_ulcer_index_by_hand() -> None:
    """Drawdowns of 0, 10 % and 10 %: the root of the mean square is 8.16 %."""
    assert of_returns(np.array([0.5, -0.1, 0.0]))["ulcer_index"] == pytest.approx(math.sqrt(0.02 / 3))
