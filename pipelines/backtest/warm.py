"""Compile every kernel and keep it on disk: `python -m pipelines.backtest.warm`, part of the set-up.

Without it the first backtest and the first sweep compile for some seconds.
"""

from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from strategies.sample import sample_candles


def warm() -> None:
    """Run a small backtest and one small sweep of each kind, which compiles what they use."""
    candles = sample_candles(500)
    market = {"symbol": "BTC-USDT", "timeframe": "1m"}
    execute(BacktestRequest(strategy="ema_crossover", **market), candles=candles)
    for strategy, grid in (
        ("ema_crossover", {"fast_period": "5:6:1"}),
        ("rsi_reversion", {"period": "7:8:1"}),
    ):
        execute_sweep(SweepRequest(strategy=strategy, grid=dict(grid), **market), candles=candles)


if __name__ == "__main__":
    warm()
