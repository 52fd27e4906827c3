"""Grids: how they are written, what is skipped, what is refused."""

import pytest

from core.errors import BadInput
from pipelines.sweep.grid import expand, parse_arguments, parse_values


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("5:20:5", [5, 10, 15, 20]),
        ("5:21:5", [5, 10, 15, 20]),
        ("3:5", [3, 4, 5]),
        ("0.1:0.3:0.1", [0.1, 0.2, 0.3]),
        ("7:7:1", [7]),
        ("1,2,5", [1, 2, 5]),
        ("2,2,3", [2, 3]),
        ("5m,15m", ["5m", "15m"]),
        ([4, 5], [4, 5]),
    ],
)
def test_values_are_read(given: object, values: list[object]) -> None:
    """start:stop:step includes stop, lists are as written, repeats count once, decimals are exact."""
    assert parse_values("x", given) == values  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    ["", ",", "5:1:1", "1:5:0", "1:5:-1", "a:b:c", "1:2:3:4", "1:inf:1", "1:1e5000:1", "1:2:1e-999999", []],
)
def test_no_values_are_refused(given: object) -> None:
    """An empty or unreadable list of values names the parameter."""
    with pytest.raises(BadInput, match="fast_period"):
        parse_values("fast_period", given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "texts", [[""], ["fast_period"], ["=1:2"], ["fast_period="], ["fast_period=5", "fast_period=6"]]
)
def test_an_argument_needs_name_and_values(texts: list[str]) -> None:
    """--grid is NAME=VALUES, and each name once."""
    with pytest.raises(BadInput, match="--grid"):
        parse_arguments(texts)


def test_impossible_pairs_are_skipped_and_counted() -> None:
    """fast_period >= slow_period is no combination; how many there were is told."""
    grid = expand("ema_crossover", {"fast_period": "5:20:5", "slow_period": "10:20:10"}, {}, "1m")
    assert grid.names == ("fast_period", "slow_period")
    pairs = [(s.parameters.fast_period, s.parameters.slow_period) for s in grid.strategies]  # type: ignore[attr-defined]
    assert pairs == [(5, 10), (5, 20), (10, 20), (15, 20)]
    assert grid.skipped == 4


def test_a_fixed_parameter_counts_in_the_order() -> None:
    """What is not in the grid, fixed or by default, rules combinations out as well."""
    assert expand("ema_crossover", {"fast_period": "20:30:5"}, {}, "1m").skipped == 1
    assert expand("ema_crossover", {"fast_period": "20:30:5"}, {"slow_period": 100}, "1m").skipped == 0
    assert expand("ema_crossover", {"fast_period": "20:30:5"}, {"slow_period": "25"}, "1m").skipped == 2


@pytest.mark.parametrize(
    ("grid", "fixed", "said"),
    [
        ({}, {}, "is empty"),
        ({"fast_period": "30:40:1"}, {}, "none of its 11 combinations"),
        ({"fast_period": "1:1000000:1", "slow_period": "1:1000000:1"}, {}, "1,000,000,000,000 combinations"),
        ({"fast_period": "1:1e12:1"}, {}, "1,000,000,000,000 values"),
        ({"nope": "1:2:1"}, {}, "nope"),
        ({"fast_period": "0:2:1"}, {}, "fast_period"),
        ({"fast_period": "5,inf"}, {}, "fast_period: must be a valid integer"),
        ({"fast_period": "5,1e5000"}, {}, "fast_period: must be a valid integer"),
        ({"fast_period": "1:2:1"}, {"fast_period": 3}, "both in the grid and fixed"),
    ],
)
def test_absurd_grids_are_refused(grid: dict, fixed: dict, said: str) -> None:
    """Nothing to run, 10^12 points and unknown or impossible values are refused before any work."""
    with pytest.raises(BadInput, match=said):
        expand("ema_crossover", grid, fixed, "1m")
