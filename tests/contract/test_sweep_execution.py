"""Sweeps with orders that wait, their costs and the path inside candles: each row is the single backtest."""

from typing import Any

import polars as pl
import pytest

from core.errors import BadInput
from core.metrics import METRICS
from core.timeframes import Timeframe
from pipelines.backtest.intrabar import bars_of_candles
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import Sweep, execute_sweep, run_sweep
from pipelines.sweep.space import Space
from pipelines.validation.caveats import inside_known
from pipelines.walk_forward.run import execute_walk_forward
from pipelines.walk_forward.windows import parse
from strategies.columns import resample
from strategies.sample import sample_candles

MINUTES = sample_candles(15 * 600)
QUARTERS = resample(MINUTES, Timeframe.M15, Timeframe.M1)
MARKET = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "15m"}
EXITS = ("stop_loss", "take_profit")
TIERS = [{"traded": 0, "maker": 0.0005, "taker": 0.001}, {"traded": 30_000, "maker": 0, "taker": 0.0004}]


def request(**values: Any) -> SweepRequest:
    """A sweep of the quarters."""
    return SweepRequest.read(MARKET | values)


def backtest(row: dict[str, Any], constant: dict[str, Any], path: pl.DataFrame | None) -> dict[str, Any]:
    """The metrics of the single run of a row's combination."""
    own = {name: row[name] for name in ("fast_period", "slow_period") if name in row}
    named = {
        name: row[name] for name in ("order", "offset", "expires", "spread", "volume_share") if name in row
    }
    exits = {name: row[name] for name in EXITS if row.get(name) is not None}
    execution = {**constant.get("execution", {}), **{k: v for k, v in named.items() if v is not None}}
    values = MARKET | constant | {"parameters": own, "execution": execution}
    if exits:
        values["risk"] = exits
    return execute(BacktestRequest.read(values), candles=QUARTERS, save=False, path=path).metrics


@pytest.mark.parametrize(
    ("grid", "constant", "inside"),
    [
        ({"order": "market,limit,stop", "offset": "0,0.001,0.003", "expires": "1,4"}, {}, False),
        ({"spread": "0,0.05", "stop_loss": "none,0.01", "volume_share": "none,0.05"}, {}, False),
        ({"take_profit": "0.004,0.008", "stop_loss": "0.004"}, {"execution": {"intrabar": "1m"}}, True),
        (
            {"fast_period": "5,9", "offset": "0.0005,0.002"},
            {"execution": {"order": "limit", "maker_fee": 0.0002, "impact": 0.1}, "slippage": 0.0003},
            False,
        ),
        ({"slow_period": "20,40"}, {"execution": {"fee_tiers": TIERS, "intrabar": "1m"}}, True),
    ],
    ids=["entries", "costs", "path", "limit", "tiers"],
)
def test_each_row_is_the_single_backtest(
    grid: dict[str, Any], constant: dict[str, Any], inside: bool
) -> None:
    """Every metric of every row equals that of a backtest with the same options, within 1e-9."""
    path = bars_of_candles(MINUTES) if inside else None
    grid = {"fast_period": "5,9", "slow_period": "21"} | grid
    table = execute_sweep(request(grid=grid, **constant), candles=QUARTERS, path=path)
    assert table["error"].null_count() == table.height > 1
    assert table["trades"].min() >= 3  # type: ignore[operator]
    assert table["total_return"].n_unique() > table.height / 2
    for row in table.iter_rows(named=True):
        single = backtest(row, constant, path)
        assert {name: row[name] for name in METRICS} == pytest.approx(single, rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("stops", [{}, {"stop_loss": "none,0.01"}], ids=["plain", "stops"])
def test_a_hole_in_the_candles_changes_no_row(stops: dict[str, str]) -> None:
    """Also what is counted by the year: two days are missing, and are time all the same."""
    holed = pl.concat([QUARTERS[:200], QUARTERS[392:]])
    table = execute_sweep(request(grid={"fast_period": "5,9", "slow_period": "21"} | stops), candles=holed)
    for row in table.iter_rows(named=True):
        own = {name: row[name] for name in ("fast_period", "slow_period")}
        risk = {name: row[name] for name in stops if row[name] is not None}
        values = MARKET | {"parameters": own} | ({"risk": risk} if risk else {})
        single = execute(BacktestRequest.read(values), candles=holed, save=False).metrics
        assert {name: row[name] for name in METRICS} == pytest.approx(single, rel=1e-9, abs=1e-9, nan_ok=True)


def test_how_much_of_the_path_is_known_is_told() -> None:
    """A sweep counts the candles that the path inside them covers; a sentence says it where it is not all."""
    execution = {"execution": {"intrabar": "1m"}, "grid": {"fast_period": [5, 9]}}
    half = bars_of_candles(MINUTES.head(15 * 300))
    found = run_sweep(Sweep(request(**execution), candles=QUARTERS, path=half))
    assert found.inside == {"BTC-USDT 15m": (300, QUARTERS.height)}
    told = "The path inside covers 300 of 600 candles: the others are judged by their worse order"
    assert inside_known(300, 600) == f"{told} of high and low."
    assert inside_known(600, 600) is None
    assert "covers none of 600" in str(inside_known(0, 600))
    assert run_sweep(Sweep(request(grid={"fast_period": [5, 9]}), candles=QUARTERS)).inside == {}


def test_what_does_not_go_together_is_dropped() -> None:
    """A market order has no offset: those combinations are no rows, and are counted."""
    grid = {"order": "market,limit", "offset": "0,0.001,0.002"}
    outcome = run_sweep(Sweep(request(grid=grid), candles=QUARTERS))
    assert (outcome.rows, outcome.dropped, outcome.failed) == (4, 2, 0)
    space = Space(request(grid=grid | {"fast_period": "5,6"}, where=["order == 'limit' and offset > 0"]))
    assert space.names == ("fast_period", "order", "offset")
    assert execute_sweep(space.request, candles=QUARTERS).height == 4


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"grid": {"offset": "0.1,1.5"}, "execution": {"order": "limit"}}, "offset: .*less than 1, got 1.5"),
        ({"grid": {"order": "limit,peg"}}, "order: must be 'market', 'limit' or 'stop', got 'peg'"),
        ({"grid": {"expires": "0:3:1"}}, "expires: must be greater than or equal to 1, got 0"),
        ({"grid": {"order": "limit"}, "fill": "close"}, "fill: close has no orders that wait"),
        ({"grid": {"intrabar": "1m,trades"}}, "intrabar: stays the same throughout a sweep"),
        ({"grid": {"fee_tiers": "1,2"}}, "fee_tiers: stays the same throughout a sweep"),
        (
            {"grid": {"offset": "0,0.1"}},
            "offset: is both",
        ),
        ({"grid": {"ofset": "0,0.1"}}, "ofset: .* there are .*offset"),
    ],
)
def test_a_wrong_option_is_named(values: dict[str, Any], said: str) -> None:
    """Its name and what was expected, before any candle is looked at."""
    execution = {"execution": {"offset": 0.1, "order": "limit"}} if "both" in said else {}
    with pytest.raises(BadInput, match=said):
        Space(request(**values | execution))


def test_a_walk_forward_trains_and_tests_with_them() -> None:
    """The tests are backtests with the options that the training chose, and end with the spread paid."""
    grid = {"fast_period": "5,9", "slow_period": "21", "order": "limit,market", "offset": "0,0.001"}
    costs = {"execution": {"spread": 0.05}}
    windows = parse("rolling:train=3d,test=1d")
    found = execute_walk_forward(request(grid=grid, **costs), windows, candles=QUARTERS)
    assert all(set(w.parameters) == set(grid) for w in found.windows)
    assert found.record.request.execution is not None
    free = execute_walk_forward(request(grid=grid), windows, candles=QUARTERS)
    assert found.record.final_value < free.record.final_value
    dear = {"execution": {"spread": 0.6 * float(QUARTERS["low"].min() or 0)}}  # type: ignore[arg-type]
    record = execute_walk_forward(request(grid=grid, **dear), windows, candles=QUARTERS).record.to_document()
    assert [row["multiple"] for row in record["validation"]["costs"]] == [0, 1]
    assert any("Twice the costs" in warning for warning in record["validation"]["warnings"])
