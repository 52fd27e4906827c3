"""The comparison page without a browser: a bot's numbers, and what a difference is called."""

from datetime import UTC, datetime, timedelta

import plotly.graph_objects as go
import polars as pl
import pytest

from core.timeframes import Timeframe
from dashboards.comparison import bot_metrics, verdict
from dashboards.figures.comparison import curves_figure, differences_figure

START = datetime(2026, 3, 1, tzinfo=UTC)
NO_TRIPS = {"trades": 0, "wins": 0, "gains": 0.0, "losses": 0.0, "fees": 0.0}


def curve(values):
    """Hourly snapshots."""
    times = [START + timedelta(hours=n + 1) for n in range(len(values))]
    return pl.DataFrame({"timestamp": times, "equity": values}).with_columns(
        pl.col("timestamp").cast(pl.Datetime("us", "UTC")), pl.col("equity").cast(pl.Float64)
    )


def test_a_bots_snapshots_and_sells_give_its_metrics():
    """Return and drawdown of snapshots, ratios of days, shares of closed trips; nothing where undefined."""
    trips = {"trades": 4, "wins": 3, "gains": 60.0, "losses": -20.0, "fees": 1.5}
    found = bot_metrics(curve([1000 + n for n in range(72)]), 1000.0, Timeframe.H1, trips)
    assert found["total_return"] == pytest.approx(0.071)
    assert found["max_drawdown"] == 0
    assert (found["win_rate"], found["profit_factor"], found["trades"]) == (0.75, 3.0, 4)
    assert found["sharpe"] is not None
    young = bot_metrics(curve([1000.0, 990.0]), 1000.0, Timeframe.H1, NO_TRIPS)
    assert (young["cagr"], young["sharpe"], young["win_rate"], young["profit_factor"]) == (None,) * 4
    assert young["max_drawdown"] == pytest.approx(-0.01)


@pytest.mark.parametrize(
    ("difference", "p", "word"),
    [
        (0.3, 0.01, "better"),
        (-0.3, 0.01, "worse"),
        (0.3, 0.2, "could be luck"),
        (None, None, "never differs"),
    ],
)
def test_a_difference_is_called_what_its_p_value_allows(difference, p, word):
    """Only what luck does not explain is better or worse."""
    assert verdict({"difference": difference, "p_corrected": p}) == word


def test_figures_are_valid_and_leave_out_what_never_differs():
    """A line each; a point with its interval for those that have one."""
    growth = curve([1.0, 2.0]).rename({"equity": "growth"})
    go.Figure(curves_figure([("one", growth), ("two", growth)], "dark"))
    rows = [
        {"id": "a", "difference": 0.1, "low": -0.1, "high": 0.4},
        {"id": "b", "difference": None, "low": None, "high": None},
    ]
    figure = differences_figure(rows, {"a": "A", "b": "B"}, "light")
    go.Figure(figure)
    assert figure["data"][0]["y"] == ["A"]
    assert figure["data"][0]["error_x"]["array"] == [pytest.approx(30)]
