"""Sweeps of strategies of every kind, and the kernel of exits: time a candle and combination, for sweeps with
indicators and metrics counted.

Run it with `pytest tests/bench/bench_strategies.py -s`. BENCH_CANDLES (default 525600, a year of minutes).
"""

import os
import time
from typing import Any

import numpy as np
import pytest

from pipelines.backtest.exits import walk_exits
from pipelines.backtest.gate import new_memory
from pipelines.backtest.guarded import bars_of, rules_of
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.risk import Risk
from pipelines.backtest.warm import warm
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from strategies.evaluate import evaluate
from strategies.registry import build, names
from strategies.sample import sample_candles
from tests.bench.figures import Tell

CANDLES = int(os.environ.get("BENCH_CANDLES", "525600"))
GRIDS: dict[str, tuple[str, dict[str, Any]]] = {
    "RSI": ("rsi_reversion", {"period": "7:28:1", "oversold": "20:35:5", "overbought": "65:80:5"}),
    "RSI, each of its own": ("rsi_reversion", {"period": "5:104:1"}),
    "MACD": ("macd_trend", {"fast_period": "6:24:2", "slow_period": "26:60:4", "signal_period": "5:15:2"}),
    "Bollinger": ("bollinger_reversion", {"period": "10:60:5", "deviations": "1:3:0.25"}),
    "Bollinger, each of its own": ("bollinger_reversion", {"period": "10:109:1"}),
    "Donchian, each of its own": ("donchian_breakout", {"entry_period": "11:110:1"}),
    "Donchian, ATR stop": (
        "donchian_breakout",
        {"entry_period": "10:60:10", "exit_period": "5:30:5", "stop_distance": "1.5:5:0.5"},
    ),
    "15m trend": (
        "trend_filter",
        {"fast_period": "5:50:5", "slow_period": "60:200:20", "trend_period": "10:60:10"},
    ),
    "volatility": (
        "volatility_target",
        {"period": "30:480:30", "target": "0.2:1.2:0.1", "band": "0.25:1:0.25"},
    ),
}


@pytest.mark.parametrize("name", GRIDS)
def test_any_strategy(name: str, tell: Tell) -> None:
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
    tell(
        f"{table.height:,} combinations, {wall:.2f} ns wall, {processor:.2f} ns CPU, "
        f"trades {table['trades'].mean():,.0f}",
        "any-strategy",
        case=name,
    )
    assert table["error"].null_count() == table.height
    assert wall < 10


EXITS: dict[str, dict[str, Any]] = {
    "stop and profit": {"stop_loss": 0.01, "take_profit": 0.02},
    "trailing stop": {"trailing_stop": 0.01},
    "all exits, the risk gate": {
        "stop_loss": 0.01, "take_profit": 0.03, "trailing_stop": 0.02, "max_candles": 500,
        "max_drawdown": 0.9, "cooldown_candles": 5,
    },
}  # fmt: skip


@pytest.mark.parametrize("strategy", ["ema_crossover", "rsi_reversion"])
@pytest.mark.parametrize("exits", EXITS)
def test_exits(exits: str, strategy: str, tell: Tell) -> None:
    """The kernel of stops and profits takes less than 10 ns a candle; a sweep over them is told beside it."""
    warm()
    market = {"strategy": strategy, "symbol": "BTC-USDT", "timeframe": "1m"}
    request = BacktestRequest.read(market | {"risk": EXITS[exits]})
    frame = sample_candles(CANDLES)
    judged = evaluate(build(strategy, timeframe="1m"), frame)
    buys, sells = (judged[side].to_numpy(writable=True) for side in ("buy", "sell"))
    bars, most = bars_of(frame, request), int(buys.sum()) + 1
    assert request.risk is not None
    rules, equity, unit = rules_of(request.risk, request), np.empty(CANDLES), 1e9 / CANDLES
    took, trips, values = [], np.zeros((most, 5), np.int64), np.zeros((most, 6))
    for _ in range(5):
        began, memory = time.process_time(), new_memory(rules)
        walk_exits(bars, buys, sells, np.ones(1), rules, request.cash, memory, equity, trips, values)
        took.append((time.process_time() - began) * unit)
    grid: dict[str, Any] = {name: [value * part for part in (1, 1.1, 1.2, 1.3)]
                            for name, value in list(EXITS[exits].items())[:1]}  # fmt: skip
    began = time.perf_counter()
    table = execute_sweep(SweepRequest(**market, risk=_without(request.risk, grid), grid=grid), candles=frame)
    swept = (time.perf_counter() - began) * unit / table.height
    tell(
        f"kernel {min(took):.2f} ns CPU, a sweep {swept:.0f} ns wall, trades {table['trades'].mean():,.0f}",
        "exits-kernel",
        case=f"{exits}, {strategy}",
    )
    assert min(took) < 10


def _without(risk: Risk, grid: dict[str, Any]) -> Risk:
    """The block without what varies."""
    return Risk.model_validate(risk.model_dump(exclude_unset=True, exclude={*grid}))
