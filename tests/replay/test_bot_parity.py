"""The promise of the product: a bot and a backtest over the same candles do the same."""

from decimal import Decimal

import polars as pl
import pytest

from core.candles import Candle
from core.decisions import Account, Rules, judge
from core.fills import Costs
from core.instruments import Instrument
from core.orders import Execution
from core.portfolio import Portfolio
from core.risk import RiskLimits, RiskState
from core.trades import Side
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.warehouse.sql import to_datetime
from strategies import registry
from strategies.evaluate import last_signal
from tests import bot_bench as bench

ENDLESS = Instrument("BTC-USDT", "BTC", "USDT", Decimal("0.1"), Decimal("1e-18"), Decimal("1e-18"))


def _frame(candles: list[Candle]) -> pl.DataFrame:
    columns = {
        name: [float(getattr(candle, name)) for candle in candles]
        for name in ("open", "high", "low", "close", "volume")
    }
    times = pl.Series("timestamp", [to_datetime(c.close_ms) for c in candles], dtype=pl.Datetime("us", "UTC"))
    return pl.DataFrame({"timestamp": times, **columns})


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("ema_crossover", {"fast_period": 3, "slow_period": 8}),
        ("rsi_reversion", {"period": 6, "oversold": 40, "overbought": 60}),
        ("buy_and_hold", {}),
    ],
)
def test_a_bot_trades_what_the_backtest_says(name, parameters):
    """Candle by candle on a window and in exact decimals, or all at once in floats: the same trades at the
    same times, prices, quantities and profits, and the same value at the end, within 1e-9."""
    candles = bench.walk(500, seed=5)
    frame = _frame(candles)
    request = BacktestRequest(
        strategy=name, parameters=parameters, symbol="BTC-USDT", timeframe="1m", fee=0.001, slippage=0.0005
    )
    backtest = execute(request, candles=frame).to_document()

    strategy = registry.build(name, parameters, "1m")
    rules = Rules("bot", ENDLESS, Costs(Decimal("0.001"), Decimal("0.0005")), RiskLimits())
    account = Account(Portfolio(Decimal(10000)), RiskState.begin(Decimal(10000)))
    fills: list[Execution] = []
    for n, candle in enumerate(candles):
        signal = last_signal(strategy, frame[max(0, n + 1 - strategy.window) : n + 1])
        outcome = judge(rules, account, candle, signal, kill_switch=False)
        account = outcome.account
        fills += outcome.executions

    trades = backtest["trades"]
    assert len(trades) > 8 or name == "buy_and_hold"
    buys = [execution for execution in fills if execution.fill.side is Side.BUY]
    sells = [execution for execution in fills if execution.fill.side is Side.SELL]
    assert len(buys) == len(trades)
    for trade, buy in zip(trades, buys, strict=True):
        assert float(buy.fill.price) == pytest.approx(trade["entry_price"], rel=1e-9)
    for trade, sell in zip(trades, sells, strict=False):
        assert float(sell.fill.price) == pytest.approx(trade["exit_price"], rel=1e-9)
        assert float(sell.pnl or 0) == pytest.approx(trade["pnl"], rel=1e-9, abs=1e-7)
    value = account.portfolio.value(candles[-1].close)
    assert float(value) == pytest.approx(backtest["final_value"], rel=1e-9)
