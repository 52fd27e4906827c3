"""The sweep's own EMA recursion, and sweeps cut into parts, change nothing."""

import time
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sweep import crossings
from pipelines.sweep.events import BLOCK, ema_lines
from pipelines.sweep.lines import crossing_pair, parts
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from strategies import registry
from strategies.columns import with_indicators
from strategies.indicators.averages import ema
from strategies.sample import sample_candles


@given(
    periods=st.lists(st.integers(1, 300), min_size=1, max_size=9, unique=True),
    cut=st.integers(1, 499),
)
@settings(max_examples=40, deadline=None)
def test_the_kernels_ema_is_the_indicator(periods: list[int], cut: int) -> None:
    """The recursion of the sweep, run in two pieces, equals the indicator to the last bit."""
    candles = sample_candles(500)
    values = candles["close"].to_numpy(writable=True)
    alphas = 2 / (np.array(periods, np.float64) + 1)
    carried = np.zeros(len(periods))
    lines = np.empty((len(periods), 501))
    pieces = []
    for begin, end in ((0, cut), (cut, 500)):
        ema_lines(values, alphas, carried, lines, begin, end)
        pieces.append(lines[:, 1 : end - begin + 1].copy())
    ours = np.concatenate(pieces, axis=1)
    for n, period in enumerate(periods):
        theirs = with_indicators(candles, {"line": ema(period)})["line"].to_numpy()
        assert np.array_equal(ours[n, period - 1 :], theirs[period - 1 :])


@pytest.mark.parametrize("memory", [1, 40_000, 400_000, 10**9])
@pytest.mark.parametrize("name", ["ema_crossover", "sma_crossover", "rsi_reversion"])
def test_the_parts_change_nothing(name: str, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever memory the lines may take, so however the work is cut, the table is the same."""
    candles = sample_candles(3 * BLOCK + 77)
    grid: dict[str, Any] = (
        {"period": [5, 6, 7], "oversold": [25, 35]}
        if name == "rsi_reversion"
        else {"fast_period": [2, 3, 5, 8], "slow_period": [6, 13, 40]}
    )
    request = SweepRequest(
        strategy=name, symbol="B", timeframe="1m", grid=grid, start=candles["timestamp"][50]
    )
    whole = execute_sweep(request, candles=candles)
    monkeypatch.setattr(crossings, "LINES_BYTES", memory)
    monkeypatch.setattr("pipelines.sweep.lines.LINES_BYTES", memory)
    assert execute_sweep(request, candles=candles).equals(whole)


def test_crossings_are_recognised_by_their_conditions() -> None:
    """Strategies that only trade a crossing need no signal columns; the others are told apart."""
    assert crossing_pair(registry.build("ema_crossover")) == (ema(12), ema(26))
    assert crossing_pair(registry.build("macd_trend")) is not None
    for name in ("rsi_reversion", "bollinger_reversion", "trend_filter", "buy_and_hold"):
        assert crossing_pair(registry.build(name)) is None


def test_parts_hold_every_pair_once() -> None:
    """Tiles of a grid of pairs need few lines each and together are the grid."""
    pairs = [(ema(one), ema(two)) for one in range(1, 30) for two in range(40, 60)]
    tiles = list(parts(pairs, 10))
    assert sorted(n for tile in tiles for n in tile) == list(range(len(pairs)))
    assert max(len({i for n in tile for i in pairs[n]}) for tile in tiles) <= 10


def test_progress_reaches_the_end() -> None:
    """Progress never goes back and ends at the number of combinations."""
    for name, grid in (("ema_crossover", "5:9:1"), ("rsi_reversion", "5:30:1")):
        seen: list[tuple[int, int]] = []
        parameter = "fast_period" if name == "ema_crossover" else "period"
        request = SweepRequest(strategy=name, symbol="B", timeframe="1m", grid={parameter: grid})
        table = execute_sweep(
            request,
            candles=sample_candles(400),
            on_progress=lambda done, of, seen=seen: seen.append((done, of)),
        )
        assert seen == sorted(seen)
        assert seen[-1] == (table.height, table.height)


def test_the_best_comes_first() -> None:
    """The table is sorted by the metric asked for, best first; a drawdown is best near 0."""
    candles = sample_candles(2_000)
    for metric in ("sharpe_bar", "max_drawdown", "fees"):
        request = SweepRequest(
            strategy="ema_crossover", symbol="B", timeframe="1m", grid={"fast_period": "2:20:3"}, sort=metric
        )
        column = execute_sweep(request, candles=candles)[metric].drop_nulls()
        assert column.is_sorted(descending=metric != "fees")
        assert isinstance(column, pl.Series)


def test_threads_that_are_done_sleep() -> None:
    """After a sweep no thread goes on asking for work, which would take a core from whoever has some."""
    request = SweepRequest(
        strategy="ema_crossover", symbol="B", timeframe="1m", grid={"fast_period": "2:20:3"}
    )
    idle = 0.0
    for _ in range(10):
        execute_sweep(request, candles=sample_candles(400))
        began = time.process_time()
        time.sleep(0.05)
        idle += time.process_time() - began
    assert idle < 0.01
