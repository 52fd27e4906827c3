"""Rolling windows of sweeps are those of Polars, to the last bit."""

import numpy as np
import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.sweep.rolling import KINDS, first_known, parts_of_jobs, roll


def columns(draw: st.DrawFn) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Prices that begin late, stand still for a while, and cross zero where they are differences."""
    count, seed = draw(st.integers(1, 400)), draw(st.integers(0, 9_999))
    random = np.random.default_rng(seed)
    values = draw(st.sampled_from([1e-9, 1.0, 1e9])) * np.exp(np.cumsum(random.normal(0, 0.01, count)))
    values[count // 3 : count // 2] = values[count // 3]
    if draw(st.booleans()):
        values -= values.mean()
    values[: draw(st.sampled_from([0, 0, 1, 7, count]))] = np.nan
    return values


@st.composite
def tasks(draw: st.DrawFn) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], list[tuple[str, int]]]:
    """A column and windows over it, some longer than it is."""
    windows = st.tuples(st.sampled_from(KINDS), st.integers(2, 90))
    return columns(draw), draw(st.lists(windows, min_size=1, max_size=12, unique=True))


@given(task=tasks(), less=st.sampled_from([0, 1]))
@example(task=(np.arange(1.0, 65.0), [("Std", 2), ("Mean", 64), ("Sum", 65), ("Max", 3)]), less=0)
@settings(max_examples=80, deadline=None)
def test_a_window_is_that_of_polars(
    task: tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], list[tuple[str, int]]], less: int
) -> None:
    """Sums, means, variances, deviations and extremes of any windows, computed side by side."""
    values, windows = task
    rows = np.empty((1 + len(windows), values.size))
    rows[0] = values
    since = first_known(values)
    jobs = [(KINDS.index(kind), 0, 1 + n, window, less, since) for n, (kind, window) in enumerate(windows)]
    roll(rows, *parts_of_jobs(jobs))
    series = pl.Series(values).fill_nan(None)
    for n, (kind, window) in enumerate(windows):
        options = {"ddof": less} if kind in ("Std", "Var") else {}
        known = getattr(series, f"rolling_{kind.lower()}")(window_size=window, **options)
        expected = known.fill_null(float("nan")).to_numpy()
        assert np.array_equal(rows[1 + n], expected, equal_nan=True), (kind, window)


def test_a_hole_is_seen() -> None:
    """Values may be missing at the head alone."""
    nan = float("nan")
    assert first_known(np.array([nan, nan, 1.0, 2.0])) == 2
    assert first_known(np.array([nan, 1.0, nan, 2.0])) == -1
    assert first_known(np.array([nan, nan])) == 2
