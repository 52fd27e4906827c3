"""The data health page without a browser: squares of the calendar, lines of the tables, backfills."""

from datetime import UTC, date, datetime, timedelta
from threading import Event

import plotly.graph_objects as go
import pytest

from core.errors import BadInput
from dashboards import health
from dashboards.backfills import Backfill
from dashboards.figures.data import ARCHIVED, NOTHING, PART, WHOLE, coverage_figure, quality_figure
from dashboards.jobs import Jobs
from dashboards.pages.data import read_period
from pipelines.backfill.report import BackfillReport, Progress

NOW = datetime(2026, 3, 3, 6, 0, tzinfo=UTC)
TODAY = NOW.date()


def day(offset, candles, provisional=0):
    """A stored day."""
    there = TODAY + timedelta(days=offset)
    return {"symbol": "BTC-USDT", "day": there, "candles": candles, "provisional": provisional}


def test_a_day_is_nothing_part_whole_or_archived():
    """Today is whole when only its last minutes are missing."""
    stored = [day(-4, 0), day(-3, 1000), day(-2, 1440), day(-1, 1440), day(0, 356)]
    archive = [
        {"symbol": "BTC-USDT", "day": TODAY - timedelta(days=n), "dataset": "raw_trades", "rows": 5}
        for n in (1, 3)
    ]
    figure = coverage_figure(stored, archive, NOW, "dark")
    go.Figure(figure)
    assert figure["data"][0]["z"] == [[NOTHING, PART, WHOLE, ARCHIVED, WHOLE]]
    assert "1,000 of 1,440 candles" in figure["data"][0]["text"][0][1]


def test_minutes_with_trouble_are_marked():
    """Two lines a connection, and a cross where ids were lost."""
    minute = {"connection": "trades 1", "latency_p50_ms": 40.0, "latency_p99_ms": 90.0, "reconnects": 0}
    rows = [
        minute | {"minute": NOW - timedelta(minutes=n), "lost_ids": 3 if n == 1 else 0, "silences": 0}
        for n in range(3)
    ]
    figure = quality_figure(rows, "light")
    go.Figure(figure)
    median, worst, trouble = figure["data"]
    assert median["x"] == sorted(median["x"])
    assert worst["line"]["dash"] == "dot"
    assert trouble["text"] == ["3 ids lost, 0 cuts, 0 silences"]


def test_cards_warn_of_what_is_open():
    """Open holes, provisional candles and unsettled differences have the colour of a warning."""
    cards = health.cards(
        {"latency_ms": None, "latency_p99_ms": None, "lag_ms": 0},
        {"open": 1, "unfillable": 1, "differences": 1},
        [{"candles": 10, "provisional": 2}],
        [{"lost_ids": 1, "reconnects": 0, "silences": 2}],
        [{"bytes": 1_500_000, "files": 3}],
    )
    assert [(number, tone) for _, number, tone, _ in cards] == [
        ("—", ""),
        ("1", "warn-text"),
        ("2", "warn-text"),
        ("1", "warn-text"),
        ("3", "warn-text"),
        ("2 MB", ""),
    ]


def test_series_say_how_many_candles_they_are_behind():
    """The shortest timeframe first; a candle that closed a moment ago is not late."""
    series = [
        {"symbol": "A", "timeframe": frame, "first_candle": NOW, "last_candle": NOW - timedelta(minutes=n)}
        for frame, n in (("1h", 30), ("1m", 4))
    ]
    rows = health.series_rows(series, NOW)
    assert [(row["timeframe"], row["late"]) for row in rows] == [("1m", 4), ("1h", 0)]


def test_a_backfill_tells_how_far_it_is_and_what_it_did():
    """Waiting, running with its share, then the rows it wrote."""
    jobs, go_on, begun = Jobs(), Event(), Event()
    wanted = Backfill("candles", "BTC-USDT", "1m", date(2026, 3, 1), date(2026, 3, 2))
    assert wanted.row()["state"] == "waiting"

    def work():
        wanted.progress = Progress(50, 200, 7)
        begun.set()
        assert go_on.wait(20)
        return BackfillReport("candles", "BTC-USDT", "1m", 0, 1, 1, rows=1_440, already=3, missing=2)

    wanted.job = jobs.submit(work)
    assert begun.wait(20)
    assert (wanted.row()["state"], wanted.row()["said"]) == ("running", "25%, 7 written")
    go_on.set()
    jobs._pool.shutdown(wait=True)
    assert wanted.row()["said"] == "1,440 written, 3 were there, 2 the exchange does not have"


def test_a_period_needs_two_days():
    """What the picker gives while only one is chosen is refused with the field's name."""
    assert read_period(["2026-03-01", "2026-03-02T00:00:00"]) == (date(2026, 3, 1), date(2026, 3, 2))
    with pytest.raises(BadInput, match="period"):
        read_period(["2026-03-01", None])
