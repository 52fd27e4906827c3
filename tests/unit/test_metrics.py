"""Metrics against published numbers and against hand counts."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from core import metrics
from core.metrics import DAY_MS, METRICS, Run, summarise

HOUR_MS = 3_600_000


def run_of(equity: list[float], pnl: list[float] | None = None, candle_ms: int = DAY_MS) -> Run:
    """A run with that equity, a candle each, begun with 100."""
    close_ms = np.arange(1, len(equity) + 1, dtype=np.int64) * candle_ms
    return Run(
        initial_cash=100.0,
        equity=np.array(equity),
        close=np.array(equity),
        close_ms=close_ms,
        candle_ms=candle_ms,
        held=len(equity) // 2,
        pnl=np.array(pnl or [], dtype=np.float64),
        closed=len(pnl or []),
        fees=1.5,
        traded=250.0,
    )


@pytest.mark.real_data
def test_sharpe_meets_a_published_value(shared_data: Path) -> None:
    """The annual Sharpe ratio of IGE, 252 days and 4 % risk-free, is the published 0.7889."""
    prices = pl.read_csv(shared_data / "reference" / "pyalgotrade" / "sharpe-ratio-test-ige.csv")
    close = prices.sort("Date")["Adj Close"].to_numpy()
    excess = close[1:] / close[:-1] - 1 - 0.04 / 252
    assert metrics.sharpe(excess, 252) == pytest.approx(0.7889, abs=5e-4)


def test_returns_and_drawdown_by_hand() -> None:
    """100 → 110 → 99 → 121 → 60.5: 10 % up, deepest drawdown 50 % from the last peak."""
    summary = summarise(run_of([110.0, 99.0, 121.0, 60.5]))
    assert summary["total_return"] == pytest.approx(-0.395)
    assert summary["max_drawdown"] == pytest.approx(-0.5)
    assert summary["max_drawdown_duration"] == 2 * 86_400
    daily = [0.1, -0.1, 121 / 99 - 1, -0.5]
    assert summary["sharpe"] == pytest.approx(np.mean(daily) / np.std(daily, ddof=1) * math.sqrt(365))
    assert summary["volatility"] == pytest.approx(np.std(daily, ddof=1) * math.sqrt(365))
    downside = math.sqrt((0.1**2 + 0.5**2) / 4)
    assert summary["sortino"] == pytest.approx(np.mean(daily) / downside * math.sqrt(365))
    assert summary["cagr"] == pytest.approx(0.605 ** (365 / 4) - 1)
    assert summary["calmar"] == pytest.approx(summary["cagr"] / 0.5)  # type: ignore[operator]
    assert summary["exposure"] == 0.5
    assert summary["turnover"] == 2.5


def test_trades_by_hand() -> None:
    """Results of 30, −10, 20, −20: half won, 50 gained for 30 lost, 5 each on average."""
    pnl = [30.0, -10.0, 20.0, -20.0]
    summary = summarise(run_of([120.0, 120.0], pnl))
    assert summary["win_rate"] == 0.5
    assert summary["profit_factor"] == pytest.approx(50 / 30)
    assert summary["expectancy"] == 5
    assert summary["sqn"] == pytest.approx(2 * 5 / np.std(pnl, ddof=1))
    assert (summary["trades"], summary["closed_trades"]) == (4, 4)


def test_sharpe_of_candles_is_annualised_by_their_number() -> None:
    """sharpe_bar uses every candle's return and the candles of 365 days; sharpe the days only."""
    equity = [101.0, 100.0, 103.0, 102.0, 104.0] * 10
    summary = summarise(run_of(equity, candle_ms=HOUR_MS))
    r = np.diff([100.0, *equity]) / np.array([100.0, *equity[:-1]])
    assert summary["sharpe_bar"] == pytest.approx(r.mean() / r.std(ddof=1) * math.sqrt(365 * 24))
    assert summary["sharpe"] != pytest.approx(summary["sharpe_bar"])


def test_a_candle_that_closes_at_midnight_belongs_to_the_day_before() -> None:
    """24 hourly candles up to midnight are one day."""
    close_ms = np.arange(1, 49, dtype=np.int64) * HOUR_MS
    equity = np.arange(1, 49, dtype=np.float64)
    assert metrics.daily_equity(equity, close_ms).tolist() == [24.0, 48.0]


@pytest.mark.parametrize("equity", [[100.0], [100.0, 100.0, 100.0], [0.0001, 100.0]])
def test_what_is_undefined_is_none(equity: list[float]) -> None:
    """Without trades, movement or days a metric is None; none is ever NaN or infinite."""
    summary = summarise(run_of(equity))
    assert tuple(summary) == METRICS
    assert summary["win_rate"] is None
    assert all(value is None or math.isfinite(value) for value in summary.values())
    if len(set(equity)) == 1:
        assert summary["sharpe"] is None
        assert summary["max_drawdown"] == 0


def test_an_unfinished_way_back_counts() -> None:
    """A drawdown that is not made up at the end lasts until the end; the start is a peak too."""
    assert summarise(run_of([99.0, 98.0, 97.0]))["max_drawdown_duration"] == 3 * 86_400
    assert summarise(run_of([101.0, 102.0, 103.0]))["max_drawdown_duration"] == 0
    assert summarise(run_of([101.0, 102.0, 99.0]))["max_drawdown_duration"] == 86_400
