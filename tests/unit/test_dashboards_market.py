"""The market page without a browser: which candles fit the pixels, what indicators people may write."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from core.errors import BadInput
from core.timeframes import Timeframe
from dashboards.candles import parts_with_candles
from dashboards.market import KINDS, MOST, SUGGESTED, TEMPLATES, indicators_of, resolution
from dashboards.pages.market import trade_lines

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("wanted", "hours", "drawn"),
    [("1m", 6, "1m"), ("1m", 24, "5m"), ("1h", 24, "1h"), ("1m", 24 * 30, "1h"), ("1m", 24 * 730, "1d")],
)
def test_the_resolution_follows_the_stretch(wanted, hours, drawn):
    """Never more candles in view than the screen can show, never shorter ones than asked for."""
    first = resolution(Timeframe(wanted), hours * HOUR_MS)[0]
    assert first == drawn
    assert hours * HOUR_MS / first.ms <= MOST


@pytest.mark.parametrize(
    ("hours", "parts"), [(range(1, 21), 20), (range(1, 11), 10), ((), 0), ((5, 25), 1), ((-3, 20), 1)]
)
def test_candles_fill_the_parts_of_a_view_that_they_lie_in(hours, parts):
    """A quarter of an hour stands for the twentieth of twenty hours that it is in, outside for nothing."""
    start = datetime(2026, 3, 1, tzinfo=UTC)
    closes = [start + timedelta(minutes=60 * hour - 5) for hour in hours]
    candles = pl.DataFrame({"timestamp": closes}, schema={"timestamp": pl.Datetime("us", "UTC")})
    start_ms = start.timestamp() * 1000
    assert parts_with_candles(candles, Timeframe.M15, start_ms, start_ms + 20 * HOUR_MS) == parts


def test_beyond_all_timeframes_days_are_drawn():
    """Thirty years are drawn in days, though they do not fit."""
    assert resolution(Timeframe.M1, 30 * 365 * 24 * HOUR_MS) == [Timeframe.D1]


def test_indicators_are_read_as_people_write_them():
    """A kind alone has its usual period; each line has a name of its own."""
    assert list(indicators_of(["EMA 12", "bollinger", "macd"])) == [
        "EMA 12",
        "Upper 20",
        "Lower 20",
        "MACD",
        "MACD signal",
    ]
    assert dict(indicators_of(["rsi 9"])["RSI 9"].parameters) == {"period": 9}


@pytest.mark.parametrize(
    "text", ["nonsense", "ema x", "ema 1", "ema 99999", "ema ²", "ema " + "9" * 5_000, ""]
)
def test_an_indicator_that_is_none_is_refused(text):
    """With a word on what there is."""
    with pytest.raises(BadInput, match="indicators"):
        indicators_of([text])


def test_all_that_is_offered_can_be_drawn():
    """Suggestions, templates, and every kind with its usual period."""
    for offered in (SUGGESTED, KINDS, *TEMPLATES.values()):
        for text in offered:
            assert indicators_of([text])


def test_no_trades_say_why():
    """An empty list has a face."""
    assert "not kept" in str(trade_lines([], 2))
