"""Spaces of combinations: numbered, constrained, refused."""

from typing import Any

import numpy as np
import pytest

from core.errors import BadInput
from pipelines.sweep.axes import declared
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.space import Space
from strategies.registry import find


def space(strategy: str = "ema_crossover", **values: Any) -> Space:
    """The space of a request."""
    market = {"strategy": strategy, "symbol": "BTC-USDT", "timeframe": "1m"}
    return Space(SweepRequest.read(market | values))


def points_of(made: Space) -> list[tuple[Any, ...]]:
    """The values of all valid combinations."""
    points = np.arange(made.size)
    return [case.values for case in made.cases(points[made.valid(points)], "1m").walked]


def test_impossible_pairs_are_dropped() -> None:
    """fast_period >= slow_period is no combination; the last axis counts fastest."""
    made = space(grid={"fast_period": "5:20:5", "slow_period": "10:20:10"})
    assert made.names == ("fast_period", "slow_period")
    assert points_of(made) == [(5, 10), (5, 20), (10, 20), (15, 20)]
    assert made.size == 8


@pytest.mark.parametrize(("fixed", "left"), [({}, 2), ({"slow_period": 100}, 3), ({"slow_period": "25"}, 1)])
def test_a_fixed_parameter_counts_in_the_order(fixed: dict[str, Any], left: int) -> None:
    """What is not in the grid, fixed or by default, rules combinations out as well."""
    assert len(points_of(space(grid={"fast_period": "20:30:5"}, parameters=fixed))) == left


def test_without_a_grid_the_declared_ranges_are_swept() -> None:
    """The search space that a strategy declares is its grid, without what is fixed."""
    assert declared(find("ema_crossover")) == {"fast_period": "5:50:1", "slow_period": "20:200:5"}
    assert space().size == 46 * 37
    assert space(parameters={"fast_period": 5}).names == ("slow_period",)


def test_exits_are_axes_and_come_last() -> None:
    """An exit varies like a parameter, fastest; none is a combination without it."""
    made = space(grid={"stop_loss": "none,0.01", "fast_period": "5,6"}, risk={"take_profit": 0.03})
    cases = made.cases(np.arange(4), "1m").walked
    assert made.names == ("fast_period", "stop_loss")
    assert [case.values for case in cases] == [(5, None), (5, 0.01), (6, None), (6, 0.01)]
    assert [str(case.risk and case.risk.take_profit) for case in cases] == ["0.03"] * 4
    assert space(grid={"stop_loss": "none"}).cases(np.zeros(1, np.int64), "1m").walked[0].risk is None


def test_where_sees_exits_and_parameters() -> None:
    """A condition can name what varies, what is fixed and what has its default."""
    made = space(
        grid={"fast_period": "5:9:1", "stop_loss": "0.01,0.02,none"},
        where=["fast_period * 3 < slow_period", "stop_loss <= fast_period / 500"],
    )
    assert points_of(made) == [(5, 0.01), (6, 0.01), (7, 0.01), (8, 0.01)]


def test_a_space_of_any_size_costs_nothing() -> None:
    """10^12 combinations are numbered and constrained without being made."""
    made = space(
        "bollinger_reversion",
        grid={"period": "10:109:1", "deviations": "1.0000000001:2:0.0000000001"},
        search="random",
    )
    assert made.size == 10**12
    some = np.array([0, 10**12 - 1, 123_456_789_012])
    assert [case.values for case in made.cases(some, "1m").walked] == [
        (10, 1.0000000001),
        (109, 2.0),
        (22, 1.3456789013),
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"grid": {"fast_period": "30:40:1"}}, "none of its 11 combinations"),
        ({"grid": {"fast_period": "5:6:1"}, "where": ["fast_period > 7"]}, "none of its 2 combinations"),
        (
            {"grid": {"fast_period": "1:1000000:1", "slow_period": "1:1000000:1"}},
            "grid: has 1,000,000,000,000 combinations.*--search random",
        ),
        ({"grid": {"fast_period": "1:1e12:1"}}, "fast_period: has 1,000,000,000,000 values"),
        ({"grid": {"fast_period": "1:1e12:1"}, "search": "random"}, "fast_period: .*2000"),
        ({"grid": {"nope": "1:2:1"}}, "nope: .*fast_period"),
        ({"grid": {"fast_period": "0:2:1"}}, "fast_period: .*got 0"),
        ({"grid": {"fast_period": "5:6:0.5"}}, "fast_period: must be a valid integer"),
        ({"grid": {"fast_period": "5,inf"}}, "fast_period: must be a valid integer"),
        ({"grid": {"fast_period": "5,1e5000"}}, "fast_period: must be a valid integer"),
        ({"grid": {"stop_loss": "0.5,2"}}, "stop_loss: must be less than 1, got 2"),
        ({"grid": {"fast_period": "1:2:1"}, "parameters": {"fast_period": 3}}, "both in the grid and fixed"),
        ({"grid": {"max_drawdown": "0.1,0.2"}}, "max_drawdown: is a column of every result"),
        ({"grid": {"stop_loss": "0.1,0.2"}, "risk": {"stop_loss": 0.3}}, "stop_loss: is both in the grid"),
        ({"grid": {"fast_period": "1:2:1"}, "parameters": {"slow": 3}}, "slow: "),
        ({"grid": {"fast_period": "1:2:1"}, "where": ["slow < 3"]}, "where: .*no parameter slow"),
        ({"grid": {"fast_period": "1:2:1"}, "trials": 5}, "trials: "),
        ({"grid": {"fast_period": "1:2:1"}, "search": "luck"}, "search: "),
        ({"grid": {"fast_period": "1:2:1"}, "symbol": "A,A"}, "symbol: "),
        ({"grid": {"fast_period": "1:2:1"}, "timeframe": "1m,2m"}, "timeframe: "),
        ({"strategy": "buy_and_hold"}, "grid: is empty and buy_and_hold declares no ranges"),
    ],
)
def test_absurd_requests_are_refused(values: dict[str, Any], said: str) -> None:
    """Nothing to run, too much to run, unknown and impossible values are refused before any work."""
    with pytest.raises(BadInput, match=said):
        made = space(**{"strategy": "ema_crossover"} | values)
        made.reach("1m")
