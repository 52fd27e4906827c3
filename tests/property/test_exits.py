"""The kernel of exits against the decisions of a bot in exact decimals, and against a naive account."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.candles import Candle
from core.decisions import Account, Rules, judge
from core.errors import BadInput
from core.fills import Costs
from core.instruments import Instrument
from core.orders import Execution
from core.portfolio import Portfolio
from core.risk import RiskLimits, RiskState
from core.signals import Signal, SignalType
from core.timeframes import Timeframe
from core.trades import Side
from pipelines.backtest.engine import Outcome, run
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from strategies import registry
from strategies.base import Strategy
from strategies.evaluate import evaluate
from strategies.sample import sample_candles
from tests.naive_exits import naive

D = Decimal
"""A stop this close to a trailing stop is the same price, and called a stop."""
FINE = Instrument("BTC-USDT", "BTC", "USDT", D("1e-18"), D("1e-18"), D("1e-18"))
BEGIN = datetime(2026, 1, 1, 20, tzinfo=UTC)
HOUR_MS = 3_600_000


class Given(Strategy):
    """Signals out of a table, to test the walk alone."""

    name = "given"
    warmup = 1
    window = 1
    indicator_names = ()

    def __init__(self, buy: list[bool], sell: list[bool]) -> None:
        self._signals = pl.DataFrame({"buy": buy, "sell": sell})
        self.timeframe = None

    def judge(self, candles: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([candles, self._signals], how="horizontal").with_columns(confidence=1.0)


def wild_candles(count: int, seed: int, silence: float) -> pl.DataFrame:
    """Hourly candles with wide ranges and jumps between them; some without a trade, which are flat."""
    random = np.random.default_rng(seed)
    rows, last = [], 100.0
    for n in range(count):
        time = BEGIN + timedelta(hours=n + 1)
        if n and random.random() < silence:
            rows.append((time, last, last, last, last, 0.0))
            continue
        opened = last * float(np.exp(random.normal(0, 0.02) * (random.random() < 0.3)))
        close = opened * float(np.exp(random.normal(0, 0.02)))
        high = max(opened, close) * float(np.exp(abs(random.normal(0, 0.015))))
        low = min(opened, close) * float(np.exp(-abs(random.normal(0, 0.015))))
        rows.append((time, opened, high, low, close, 1.0))
        last = close
    names = ["timestamp", "open", "high", "low", "close", "volume"]
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(
        pl.col("timestamp").cast(pl.Datetime("us", "UTC"))
    )


def with_holes(candles: pl.DataFrame, strategy: Given, seed: int, part: float) -> tuple[pl.DataFrame, Given]:
    """The market without such a part of its candles and their signals; the first stays."""
    kept = np.random.default_rng(seed).random(candles.height) >= part
    kept[0] = True
    signals = strategy.judge(candles).filter(pl.Series(kept))
    return candles.filter(pl.Series(kept)), Given(signals["buy"].to_list(), signals["sell"].to_list())


def request_of(**values: Any) -> BacktestRequest:
    """A request on hourly candles."""
    return BacktestRequest(strategy="given", symbol="BTC-USDT", timeframe="1h", **values)


maybe = st.one_of(st.none(), st.sampled_from(["0.01", "0.03", "0.08"]).map(D))
# Not what a stop loses to the last digit: there the rounding of a bot's lots decides.
limits = st.one_of(st.none(), st.sampled_from(["0.0137", "0.0311", "0.0871"]).map(D))


@st.composite
def markets(draw: st.DrawFn) -> tuple[pl.DataFrame, Given]:
    """Candles and signals on any of them."""
    count = draw(st.integers(1, 90))
    candles = wild_candles(count, draw(st.integers(0, 9_999)), draw(st.sampled_from([0.0, 0.2, 0.8])))
    often = draw(st.sampled_from([0.1, 0.5, 0.9]))
    random = np.random.default_rng(draw(st.integers(0, 9_999)))
    return candles, Given(list(random.random(count) < often), list(random.random(count) < 0.15))


def decide(candles: pl.DataFrame, signals: pl.DataFrame, request: BacktestRequest) -> Any:
    """Equity at each close and the fills, as a bot decides them candle by candle."""
    assert request.risk is not None
    limits = msgspec.convert(dict(request.risk), RiskLimits)
    costs = Costs(D(str(request.fee)), D(str(request.slippage)))
    rules = Rules("bot", FINE, costs, limits)
    cash = D(str(request.cash))
    account, equity = Account(Portfolio(cash), RiskState.begin(cash)), []
    fills: list[Execution] = []
    for row, signal in zip(candles.iter_rows(named=True), signals.iter_rows(named=True), strict=True):
        close_ms = int(row["timestamp"].timestamp() * 1000)
        prices = (D(str(row[name])) for name in ("open", "high", "low", "close", "volume"))
        candle = Candle("BTC-USDT", Timeframe.H1, close_ms, *prices)
        kind = SignalType.SELL if signal["sell"] else SignalType.BUY if signal["buy"] else SignalType.HOLD
        outcome = judge(rules, account, candle, Signal(kind, close_ms, row["close"], 1.0), False)
        account = outcome.account
        fills += outcome.executions
        equity.append(float(account.portfolio.value(candle.close)))
    return equity, fills


gates = st.fixed_dictionaries(
    {},
    optional={
        "max_order_value": st.sampled_from([D(700), D(9_000)]),
        "max_position_value": st.sampled_from([D(9_000), D(9_500)]),
        "max_orders_per_hour": st.integers(1, 2),
        "max_orders_per_day": st.integers(2, 7),
        "cooldown_candles": st.integers(1, 9),
        "max_consecutive_losses": st.integers(1, 3),
        "max_price_deviation": st.sampled_from([D("0.0101"), D("0.0333")]),
        "max_silent_candles": st.sampled_from([0, 1, 3]),
        "halt_until_reset": st.booleans(),
    },
) | st.fixed_dictionaries({"cooldown_minutes": st.sampled_from([1, 60, 61, 600])})


@given(
    markets(),
    st.fixed_dictionaries(
        {
            "stop_loss": maybe,
            "take_profit": maybe,
            "max_daily_loss": limits,
            "max_drawdown": limits,
            "max_position_fraction": st.sampled_from([D(1), D("0.3")]),
            "max_candles": st.sampled_from([None, 1, 2, 7]),
        }
    ),
    gates,
    st.sampled_from([0.0, 0.4]),
    st.sampled_from([0.0, 0.001, 0.01]),
    st.sampled_from([0.0, 0.002]),
)
@settings(max_examples=250, deadline=None)
def test_a_backtest_leaves_where_a_bot_leaves(
    market: tuple[pl.DataFrame, Given],
    risk: dict[str, Any],
    gate: dict[str, Any],
    missing: float,
    fee: float,
    slippage: float,
) -> None:
    """Stops, profits, the longest time, every limit of the gate, candles without trades and candles that are
    missing: every fill and every candle's equity are those of the bot's exact decimals within 1e-9."""
    candles, strategy = with_holes(*market, seed=market[0].height, part=missing)
    stops = (risk["max_daily_loss"], risk["max_drawdown"], gate.get("max_consecutive_losses"))
    gate = gate | {"halt_until_reset": gate.get("halt_until_reset", False) and any(stops)}
    request = request_of(risk=risk | gate, fee=fee, slippage=slippage)
    equity, fills = decide(candles, evaluate(strategy, candles), request)
    outcome = run(strategy, candles, request)
    assert outcome.equity["equity"].to_list() == pytest.approx(equity, rel=1e-9)
    buys = [one for one in fills if one.fill.side is Side.BUY]
    sells = [one for one in fills if one.fill.side is Side.SELL]
    closed = outcome.trades.filter(pl.col("exit_reason") != "end")
    assert outcome.trades["entry_price"].to_list() == pytest.approx([float(b.fill.price) for b in buys])
    assert closed["exit_price"].to_list() == pytest.approx([float(s.fill.price) for s in sells])
    assert closed["pnl"].to_list() == pytest.approx([float(s.pnl or 0) for s in sells], rel=1e-9, abs=1e-7)
    assert closed["exit_reason"].to_list() == [s.order.reason or "signal" for s in sells]
    times = closed["exit_time"].dt.epoch("ms").to_list()
    assert times == [s.fill.timestamp_ms for s in sells]


sizes = st.sampled_from(
    [
        {},
        {"sizing": "fixed", "size": D(3_000)},
        {"sizing": "fixed", "size": D(30_000)},
        {"sizing": "percent", "size": D("0.4")},
        {"sizing": "risk", "size": D("0.01")},
        {"sizing": "volatility", "size": D("0.8"), "volatility_candles": 5},
    ]
)


@given(
    markets().filter(lambda market: bool((market[0]["volume"] > 0).all())),
    st.fixed_dictionaries(
        {
            "stop_loss": maybe,
            "take_profit": maybe,
            "trailing_stop": maybe,
            "max_candles": st.sampled_from([None, 1, 2, 7]),
            "max_position_fraction": st.sampled_from([D(1), D("0.6")]),
        }
    ),
    sizes,
    st.sampled_from(["open", "close"]),
    st.sampled_from([None, "received", "quote"]),
)
@settings(max_examples=300, deadline=None)
def test_exits_and_sizes_equal_a_naive_account(
    market: tuple[pl.DataFrame, Given],
    risk: dict[str, Any],
    size: dict[str, Any],
    fill: str,
    pays: str | None,
) -> None:
    """Trailing stop, time exit and every sizing, at both fills: the equity of every candle within 1e-9, and
    the reason of every exit, are those of an account that plays both orders of high and low."""
    candles, strategy = market
    if size.get("sizing") == "risk" and not (risk["stop_loss"] or risk["trailing_stop"]):
        risk = risk | {"stop_loss": D("0.02")}
    request = request_of(risk=risk | size, fill=fill, fee_currency=pays, fee=0.001, slippage=0.0005)
    equity, reasons = naive(candles, evaluate(strategy, candles), request)
    outcome = run(strategy, candles, request)
    assert [reason for reason in outcome.trades["exit_reason"] if reason != "end"] == reasons
    assert outcome.equity["equity"].to_list() == pytest.approx(equity, rel=1e-9)
    assert outcome.final_value == pytest.approx(request.cash + outcome.trades["pnl"].sum(), rel=1e-9)


@given(markets(), st.sampled_from(["open", "close"]))
@settings(max_examples=200, deadline=None)
def test_without_limits_both_walks_are_one(market: tuple[pl.DataFrame, Given], fill: str) -> None:
    """An empty risk block changes nothing: trades, equity, signals and metrics are those without one, candles
    without a trade included, at which an order waits and after some of which nothing is bought."""
    candles, strategy = market
    plain: Outcome = run(strategy, candles, request_of(fill=fill))
    empty: Outcome = run(strategy, candles, request_of(fill=fill, risk={}))
    assert empty.trades.drop("exit_price", "pnl").equals(plain.trades.drop("exit_price", "pnl"))
    assert empty.trades["pnl"].to_list() == pytest.approx(plain.trades["pnl"].to_list(), rel=1e-9, abs=1e-9)
    assert empty.equity["equity"].to_list() == pytest.approx(plain.equity["equity"].to_list(), rel=1e-12)
    assert empty.signals.equals(plain.signals)
    for name, value in plain.metrics.items():
        assert empty.metrics[name] == (value if value is None else pytest.approx(value, rel=1e-9, abs=1e-9))


@pytest.mark.parametrize("fill", ["open", "close"])
def test_a_sweep_with_a_risk_block_is_many_backtests(fill: str) -> None:
    """Every metric of every row equals the single backtest's, sizes that need history before the start
    included."""
    candles = sample_candles(2_000, seed=3)
    block = {"stop_loss": 0.004, "take_profit": 0.006, "sizing": "volatility", "size": 0.5}
    market = {"symbol": "BTC-USDT", "timeframe": "1m", "fill": fill, "risk": block}
    market["start"] = candles["timestamp"][500]
    grid = {"fast_period": [2, 5], "slow_period": [6, 20]}
    table = execute_sweep(SweepRequest(strategy="ema_crossover", grid=grid, **market), candles=candles)
    for row in table.iter_rows(named=True):
        parameters = {name: row[name] for name in grid}
        request = BacktestRequest(strategy="ema_crossover", parameters=parameters, **market)
        single = execute(request, candles=candles)
        assert {"stop_loss", "take_profit"} <= set(single.trades["exit_reason"])
        for name, value in single.metrics.items():
            assert row[name] == (value if value is None else pytest.approx(value, rel=1e-12)), name


def test_risking_a_fraction_loses_it_at_the_stop() -> None:
    """With sizing risk a stop that is hit without a gap costs that fraction of equity before the exit's fee;
    the fraction is the strategy's risk_percentage when the block does not say."""
    candles = wild_candles(200, 3, 0.0).with_columns(open=pl.col("close").shift(1).fill_null(pl.col("open")))
    candles = candles.with_columns(
        high=pl.max_horizontal("open", "high", "close"), low=pl.min_horizontal("open", "low", "close")
    )
    block = {"stop_loss": 0.02, "take_profit": 0.02, "sizing": "risk"}
    request = request_of(risk=block | {"size": 0.005}, fee=0.0)
    outcome = run(Given([True] * 200, [False] * 200), candles, request)
    before = request.cash + outcome.trades["pnl"].cum_sum().shift(1, fill_value=0.0)
    lost = (outcome.trades["pnl"] / before).filter(outcome.trades["exit_reason"] == "stop_loss")
    assert lost.len() > 10
    assert lost.to_list() == pytest.approx([-0.005] * lost.len())
    named = registry.build("buy_and_hold", {"risk_percentage": 0.005})
    assert run(named, candles, request_of(risk=block, fee=0.0)).equity.equals(outcome.equity)
    with pytest.raises(BadInput, match="risk_percentage"):
        run(registry.build("buy_and_hold"), candles, request_of(risk=block))
