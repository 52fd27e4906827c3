"""Sweeps of strategies of every kind: time a candle and combination, indicators and metrics counted.

Run it with `pytest tests/bench/bench_strategies.py -s`. BENCH_CANDLES (default 525600, a year of minutes).
"""

import os
import time
from typing import Any

import pytest

from pipelines.backtest.warm import warm
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from strategies.registry import names
from strategies.sample import sample_candles

CANDLES = int(os.environ.get("BENCH_CANDLES", "525600"))
GRIDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RSI": ("rsi_reversion", {"period": "7:28:1", "oversold": "20:35:5", "overbought": "65:80:5"}),
    "RSI, each of its own": ("rsi_reversion", {"period": "5:104:1"}),
    "MACD": ("macd_trend", {"fast_period": "6:24:2", "slow_period": "26:60:4", "signal_period": "5:15:2"}),
    "Bollinger": ("bollinger_reversion", {"period": "10:60:5", "deviations": "1:3:0.25"}),
    "Bollinger, each of its own": ("bollinger_reversion", {"period": "10:109:1"}),
    "Donchian, ATR stop": (
        "donchian_breakout",
        {"entry_period": "10:60:10", "exit_period": "5:30:5", "stop_distance": "1.5:5:0.5"},
    ),
    "15m trend": (
        "trend_filter",
        {"fast_period": "5:50:5", "slow_period": "60:200:20", "trend_period": "10:60:10"},
    ),
    "volatility": ("volatility_target", {"period": "30:480:30", "target": "0.2:1.2:0.1", "band": "0:1:0.5"}),
}


@pytest.mark.parametrize("name", GRIDS)
def test_any_strategy(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A sweep of any vectorised strategy takes less than 10 ns a candle and combination."""
    warm()
    strategy, grid = GRIDS[name]
    assert strategy in names()
    request = SweepRequest(strategy=strategy, symbol="BTC-USDT", timeframe="1m", grid=grid)
    execute_sweep(request.model_copy(update={"grid": {k: v.split(":")[0] for k, v in grid.items()}}),
                  candles=sample_candles(5_000))  # fmt: skip
    frame = sample_candles(CANDLES)
    wall, processor = time.perf_counter(), time.process_time()
    table = execute_sweep(request, candles=frame)
    unit = 1e9 / CANDLES / table.height
    wall, processor = (time.perf_counter() - wall) * unit, (time.process_time() - processor) * unit
    with capsys.disabled():
        print(  # noqa: T201 a benchmark prints
            f"\n{name}: {table.height:,} combinations, {wall:.2f} ns wall, {processor:.2f} ns CPU, "
            f"trades {table['trades'].mean():,.0f}, load {os.getloadavg()[0]:.1f}"
        )
    assert table["error"].null_count() == table.height
    assert wall < 10
