"""Grids: how they are written, what is skipped, what is refused."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput
from pipelines.sweep.grid import Span, parse_arguments, parse_values


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("5:20:5", [5, 10, 15, 20]),
        ("5:21:5", [5, 10, 15, 20]),
        ("3:5", [3, 4, 5]),
        ("0.1:0.3:0.1", [0.1, 0.2, 0.3]),
        ("0.5:2:0.5", [0.5, 1.0, 1.5, 2.0]),
        ("-2:-0.5:1", [-2, -1]),
        ("none,0.01", [None, 0.01]),
        ("7:7:1", [7]),
        ("1,2,5", [1, 2, 5]),
        ("2,2,3", [2, 3]),
        ("5m,15m", ["5m", "15m"]),
        ([4, 5], [4, 5]),
    ],
)
def test_values_are_read(written: object, values: list[object]) -> None:
    """start:stop:step includes stop, lists are as written, repeats count once, decimals are exact."""
    assert list(parse_values("x", written)) == values  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "written",
    ["", ",", "5:1:1", "1:5:0", "1:5:-1", "a:b:c", "1:2:3:4", "1:inf:1", "1:1e5000:1", "1:2:1e-999999", []],
)
def test_no_values_are_refused(written: object) -> None:
    """An empty or unreadable list of values names the parameter."""
    with pytest.raises(BadInput, match="fast_period"):
        parse_values("fast_period", written)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "texts", [[""], ["fast_period"], ["=1:2"], ["fast_period="], ["fast_period=5", "fast_period=6"]]
)
def test_an_argument_needs_name_and_values(texts: list[str]) -> None:
    """--grid is NAME=VALUES, and each name once."""
    with pytest.raises(BadInput, match="--grid"):
        parse_arguments(texts)


@given(
    st.decimals(-1000, 1000, places=3),
    st.decimals(Decimal("0.001"), 10, places=3),
    st.integers(0, 200),
    st.data(),
)
def test_a_range_gives_the_floats_nearest_to_its_decimals(
    start: Decimal, step: Decimal, count: int, data: st.DataObject
) -> None:
    """Each value of a range is the float of the exact decimal, one by one and as a column."""
    values = parse_values("x", f"{start}:{start + step * count}:{step}")
    exact = [float(start + step * n) for n in range(count + 1)]
    assert list(values) == exact
    assert isinstance(values, Span)
    at = np.array(data.draw(st.lists(st.integers(0, count), max_size=5)), np.int64)
    assert values.take(at).tolist() == [exact[n] for n in at]
