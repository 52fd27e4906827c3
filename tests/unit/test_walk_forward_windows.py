"""Windows of a walk-forward: what they are, what they may know, and which are refused."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput
from pipelines.walk_forward.windows import Span, Window, duration, parse, plan, written

START = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
GRID: dict[str, Any] = {"fast_period": [5, 10, 20], "slow_period": [30, 60]}


def planned(text: str, days: float, candle: timedelta = HOUR) -> list[Window]:
    """The windows of so many days from the first of January."""
    return plan(parse(text), Span(START, START + timedelta(days=days)), candle)


def days(window: Window) -> tuple[list[tuple[float, float]], tuple[float, float]]:
    """Training and test in days from the first of January."""
    train = [((s.start - START) / DAY, (s.end - START) / DAY) for s in window.train]
    return train, ((window.test.start - START) / DAY, (window.test.end - START) / DAY)


def test_rolling_windows_follow_each_other() -> None:
    """Ten days of training move on by each test of five; the last test may be shorter, down to half."""
    assert [days(w) for w in planned("rolling:train=10d,test=5d", 28)] == [
        ([(0, 10)], (10, 15)),
        ([(5, 15)], (15, 20)),
        ([(10, 20)], (20, 25)),
        ([(15, 25)], (25, 28)),
    ]
    assert len(planned("rolling:train=10d,test=5d", 27)) == 3


def test_anchored_windows_keep_their_beginning() -> None:
    """Each training begins at the beginning; a purge is left out before each test."""
    assert [days(w) for w in planned("anchored:train=10d,test=5d,purge=1d", 21)] == [
        ([(0, 10)], (11, 16)),
        ([(0, 15)], (16, 21)),
    ]


def test_purged_folds_train_on_both_sides() -> None:
    """Every fold is tested once and trained on all the rest, purge and embargo left out around it."""
    assert [days(w) for w in planned("purged:folds=3,purge=1d,embargo=2d", 30)] == [
        ([(13, 30)], (0, 10)),
        ([(0, 9), (23, 30)], (10, 20)),
        ([(0, 19)], (20, 30)),
    ]


@given(
    mode=st.sampled_from(["rolling", "anchored"]),
    train=st.integers(1, 400),
    test=st.integers(1, 200),
    purge=st.integers(0, 50),
    hours=st.integers(1, 2_000),
)
def test_no_window_knows_its_future(mode: str, train: int, test: int, purge: int, hours: int) -> None:
    """Trainings end a purge before their test, tests touch each other and never overlap, all on candles."""
    span = Span(START, START + hours * HOUR)
    walk = parse(f"{mode}:train={train}h,test={test}h,purge={purge}h")
    try:
        windows = plan(walk, span, HOUR)
    except BadInput:
        assert hours < train + purge + test / 2 or (hours - train - purge) / test > 999
        return
    for n, window in enumerate(windows):
        (trained,) = window.train
        assert window.n == n
        assert trained.end + purge * HOUR == window.test.start
        assert trained.start >= span.start
        assert window.test.end <= span.end
        assert (window.test.start - START) % HOUR == timedelta(0)
        if mode == "rolling":
            assert trained.end - trained.start == train * HOUR
    for one, two in pairwise(windows):
        assert one.test.end == two.test.start
    assert span.end - windows[-1].test.end < max(test * HOUR / 2, HOUR)


@given(folds=st.integers(2, 20), purge=st.integers(0, 5), embargo=st.integers(0, 5))
def test_folds_tile_the_stretch(folds: int, purge: int, embargo: int) -> None:
    """All of the stretch is tested exactly once, and no training comes nearer to its test than it may."""
    span = Span(START, START + 1_003 * HOUR)
    windows = plan(parse(f"purged:folds={folds},purge={purge}h,embargo={embargo}h"), span, HOUR)
    assert (windows[0].test.start, windows[-1].test.end, len(windows)) == (span.start, span.end, folds)
    for window in windows:
        for trained in window.train:
            before = window.test.start - trained.end
            after = trained.start - window.test.end
            assert before >= purge * HOUR or after >= (purge + embargo) * HOUR
    for one, two in pairwise(windows):
        assert one.test.end == two.test.start


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sideways:train=1d,test=1d", "rolling"),
        ("rolling", "rolling needs train"),
        ("rolling:train=60d", "needs test"),
        ("rolling:train=60d,test=x", "'x' is not a length of time"),
        ("rolling:train=60d,test=0d", "greater than 0"),
        ("rolling:train=999999w,test=1d", "'999999w' is longer than a hundred years"),
        ("purged:folds=4,embargo=999999d", "'999999d' is longer than a hundred years"),
        ("rolling:train=60d,test=1d,test=2d", "given twice"),
        ("rolling:train=60d,test=1d,folds=3", "has no folds"),
        ("rolling:train=60d,test=1d,embargo=1d", "has no embargo"),
        ("rolling:train=60d,test=1d,colour=3d", "colour"),
        ("purged:folds=1", "folds"),
        ("purged:folds=many", "folds"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, said: str) -> None:
    """The message names the option, what is wrong, and how it is written."""
    with pytest.raises(BadInput, match="--walk-forward") as caught:
        parse(text)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("text", "span_days", "said"),
    [
        ("rolling:train=10d,test=5d", 5, "fit into 5d"),
        ("rolling:train=10m,test=5d", 5, "at least a candle"),
        ("purged:folds=200", 5, "leave nothing"),
        ("purged:folds=2,purge=9d", 5, "leave nothing"),
        ("rolling:train=1h,test=1h", 100, "more than 1,000"),
    ],
)
def test_windows_that_do_not_fit_are_refused(text: str, span_days: int, said: str) -> None:
    """Too little data, windows below a candle or too many of them are one line."""
    with pytest.raises(BadInput) as caught:
        planned(text, span_days)
    assert said in caught.value.message


def test_lengths_are_written_as_they_are_read() -> None:
    """60d, 36h, 90m and 2w keep their meaning."""
    for text, shown in (
        ("60d", "60d"),
        ("36h", "36h"),
        ("90m", "90m"),
        ("2w", "14d"),
        ("1.5d", "36h"),
        ("36500d", "36500d"),
    ):
        assert written(duration(text)) == shown
