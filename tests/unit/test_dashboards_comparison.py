"""The comparison page without a browser: a bot's numbers, and what a difference is called."""

from datetime import UTC, datetime, timedelta

import plotly.graph_objects as go
import polars as pl
import pytest

from core.timeframes import Timeframe
from dashboards.comparison import metrics_table, verdict
from dashboards.figures.comparison import curves_figure, differences_figure
from dashboards.queries.comparisons import step_of
from dashboards.stretches import Compared, common, curve_metrics, measured
from pipelines.validation.compare import Record

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
    found = curve_metrics(curve([1000 + n for n in range(72)]), 1000.0, Timeframe.H1, trips)
    assert found["total_return"] == pytest.approx(0.071)
    assert found["max_drawdown"] == 0
    assert (found["win_rate"], found["profit_factor"], found["trades"]) == (0.75, 3.0, 4)
    assert found["sharpe"] is not None
    young = curve_metrics(curve([1000.0, 990.0]), 1000.0, Timeframe.H1, NO_TRIPS)
    assert (young["cagr"], young["sharpe"], young["win_rate"], young["profit_factor"]) == (None,) * 4
    assert young["max_drawdown"] == pytest.approx(-0.01)


def compared(name, values, later_h=0, metrics=None, trips=NO_TRIPS, symbol="BTC-USDT"):
    """A column that begins some hours later than `START`; asked for trips, it counts those of the time."""
    told = curve(values).with_columns(pl.col("timestamp") + timedelta(hours=later_h))

    def closed(since, until):
        return {**trips, "fees": (until - since) / timedelta(hours=1)}

    document = {"id": name, "timeframe": "1h", "symbol": symbol}
    life = told["timestamp"][0], told["timestamp"][-1]
    return Compared(Record(document, told), name, "about", metrics or {}, closed, life)


def test_a_long_run_is_measured_over_the_days_of_the_bot_beside_it():
    """What it earned before and after that does not count; who has no other time keeps its own numbers."""
    run = compared("run", [1000.0] * 50 + [2000.0, 2100.0, 2060.0, 9000.0], metrics={"total_return": 8.0})
    bot = compared("bot", [500.0, 505.0, 510.0], later_h=50, metrics={"total_return": 0.02})
    stretch = common([run, bot])
    assert stretch == (START + timedelta(hours=51), START + timedelta(hours=53))
    cut, same = measured([run, bot], stretch)
    assert same is bot
    assert cut.metrics["total_return"] == pytest.approx(0.03)
    assert cut.metrics["max_drawdown"] == pytest.approx(2060 / 2100 - 1)
    assert (cut.metrics["closed_trades"], cut.metrics["fees"]) == (0, 2)
    assert str(metrics_table([cut, same])).count("strong") > 0
    assert "strong" not in str(metrics_table([same, same]))


def test_none_tells_a_growth_a_year_of_less_than_a_day():
    """A stored run has it of any length, a bot from a day on: side by side both have it or both have not, and
    a run by itself has it from a day on too."""
    told = {"cagr": 250.0, "total_return": 0.02}
    run = compared("run", [1000.0] * 24, metrics=told)
    bot = compared("bot", [500.0] * 24, metrics={"cagr": 12.0})
    assert [column.metrics["cagr"] for column in measured([run, bot], common([run, bot]))] == [None, None]
    assert [column.metrics for column in measured([run], None)] == [{"cagr": None, "total_return": 0.02}]
    day = compared("day", [1000.0] * 25, metrics=told)
    assert measured([day], common([day])) == [day] == measured([day], None)


def test_nobody_is_the_best_of_different_times():
    """Without common time, or with one point of it, each says of when it is, and none is strong."""
    run = compared("run", [1000.0, 1600.0], metrics={"total_return": 0.6})
    bot = compared("bot", [500.0, 505.0], later_h=1, metrics={"total_return": 0.01})
    assert common([run, bot]) is None
    assert common([run, compared("later", [1.0, 2.0], later_h=500)]) is None
    shown = str(metrics_table([run, bot], is_fair=False))
    assert "strong" not in shown
    assert "Mar 01 01:00 to Mar 01 02:00 UTC" in shown and "Mar 01 02:00 to Mar 01 03:00 UTC" in shown


def test_fees_have_the_decimals_of_their_currency_and_are_the_best_of_one_alone():
    """A fee in bitcoin is no 0.00, and is not smaller than one in dollars."""
    coins = compared("coins", [1.0, 1.1], metrics={"fees": 0.0001234}, symbol="ETH-BTC")
    dollars = compared("dollars", [1.0, 1.1], metrics={"fees": 1234.567})
    shown = str(metrics_table([coins, dollars]))
    assert "'0.000123 BTC'" in shown and "'1,234.57 USDT'" in shown and "strong" not in shown
    cheaper = compared("cheaper", [1.0, 1.1], metrics={"fees": 2.0})
    assert str(metrics_table([cheaper, dollars])).count("strong") == 1


@pytest.mark.parametrize(
    ("frame", "days", "step"),
    [
        ("1m", 1, "1m"),
        ("1m", 4, "5m"),
        ("1m", 20, "15m"),
        ("1m", 400, "4h"),
        ("1h", 4, "1h"),
        ("1m", 9e3, "1d"),
    ],
)
def test_a_life_is_drawn_in_the_shortest_step_of_which_there_are_not_too_many(frame, days, step):
    """Never shorter than the bot's own candles, never longer than a day."""
    found = step_of(Timeframe(frame), START, START + timedelta(days=days))
    assert found is Timeframe(step)


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
