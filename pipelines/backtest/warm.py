"""Compile the kernels and keep them on disk: `python -m pipelines.backtest.warm`, at set-up.

Without it the first sweep, and the first backtest with stops or orders that wait, compile for some seconds. A
plain backtest needs no compiled code.
"""

from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from strategies.sample import sample_candles


def warm() -> None:
    """Run one small sweep and one small backtest of each kind, which compiles what they use."""
    candles = sample_candles(500)
    market = {"symbol": "BTC-USDT", "timeframe": "1m"}
    for strategy, grid in (
        ("ema_crossover", {"fast_period": "5:6:1"}),
        ("rsi_reversion", {"period": "7:8:1", "oversold": "25,30"}),
        ("bollinger_reversion", {"period": "7:8:1", "stop_loss": "none,0.01"}),
    ):
        execute_sweep(SweepRequest(strategy=strategy, grid=dict(grid), **market), candles=candles)
    for options in ({"risk": {"stop_loss": 0.01}}, {"execution": {"order": "limit"}}):
        request = BacktestRequest.read({"strategy": "ema_crossover", **market, **options})
        execute(request, candles=candles)


if __name__ == "__main__":
    warm()
