"""The exact order machine of bots and the compiled kernel of backtests walk the same bars alike."""

from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from config.files import BotFile, RiskFile
from core.candles import Candle
from core.decisions import Account, Bar, Rules, judge
from core.instruments import Instrument
from core.orders import Execution
from core.portfolio import Portfolio
from core.risk import RiskState
from core.signals import Signal, SignalType
from core.timeframes import Timeframe
from core.trades import Side
from live.bots.rules import rules_of
from pipelines.backtest.engine import run
from pipelines.backtest.intrabar import bars_of_candles, lay_under
from pipelines.backtest.request import BacktestRequest
from pipelines.warehouse.sql import to_ms
from strategies.columns import resample
from strategies.evaluate import evaluate
from strategies.sample import sample_candles
from tests.property.test_exits import Given, gates, limits, with_holes
from tests.property.test_orders import _trades, executions, markets, options, risks, sizes

D = Decimal
ENDLESS = Instrument("BTC-USDT", "BTC", "USDT", D("1e-18"), D("1e-18"), D("1e-18"))
Walked = tuple[list[Decimal], list[Execution], Account]


def file_of(execution: dict[str, Any], risk: dict[str, Any], timeframe: str) -> BotFile:
    """A bot with the options of a backtest."""
    texts = {name: value for name, value in risk.items() if value is not None}
    block = {name: value for name, value in execution.items() if value is not None}
    if block.get("order") == "market":
        block.pop("expires", None)
    plain = BotFile.model_validate(
        {
            "bot_id": "bot",
            "strategy": "given",
            "symbol": "BTC-USDT",
            "timeframe": timeframe,
            "virtual_balance": 10_000,
            "slippage": "0.0005",
            "execution": exact(block),
        }
    )
    # Set past the check that a profit earns its fees: what earns nothing is matched all the same.
    return plain.model_copy(update={"risk": RiskFile.model_validate(texts)})


def exact(value: Any) -> Any:
    """Floats as the decimals that people would write."""
    if isinstance(value, float):
        return D(str(value))
    if isinstance(value, dict):
        return {key: exact(part) for key, part in value.items()}
    return [exact(part) for part in value] if isinstance(value, list) else value


def bars_of(laid: pl.DataFrame) -> list[list[Bar]]:
    """Exact bars of each candle."""
    found: list[list[Bar]] = []
    for row in laid.iter_rows(named=True):
        if row["candle"] == len(found):
            found.append([])
        prices = (D(str(row[name])) for name in ("open", "high", "low", "close", "volume"))
        found[-1].append(Bar(to_ms(row["begins"]), to_ms(row["ends"]), *prices))
    return found


def walk(rules: Rules, candles: pl.DataFrame, inside: list[list[Bar]], signals: pl.DataFrame) -> Walked:
    """Equity at each close, all executions, and the account at the end."""
    account = Account(Portfolio(D(10_000)), RiskState.begin(D(10_000)))
    equity, fills = [], []
    frame = Timeframe.M15 if rules.bot_name == "quarters" else Timeframe.H1
    for row, bars, said in zip(
        candles.iter_rows(named=True), inside, signals.iter_rows(named=True), strict=True
    ):
        kind = SignalType.SELL if said["sell"] else SignalType.BUY if said["buy"] else SignalType.HOLD
        prices = (D(str(row[name])) for name in ("open", "high", "low", "close", "volume"))
        close_ms = to_ms(row["timestamp"])
        candle = Candle("BTC-USDT", frame, close_ms, *prices)
        outcome = judge(rules, account, candle, Signal(kind, close_ms, row["close"], 1.0), False, bars)
        account = outcome.account
        fills += outcome.executions
        equity.append(account.portfolio.value(candle.close))
    return equity, fills, account


def round_trips(fills: list[Execution]) -> list[dict[str, Any]]:
    """Executions summed by round trip, as a backtest tells of them."""
    trips: list[dict[str, Any]] = []
    flat = True
    for one in fills:
        fill = one.fill
        if fill.side is Side.BUY and flat:
            trips.append(
                {"entry": fill.timestamp_ms, "bought": D(0), "cost": D(0), "sold": D(0), "got": D(0)}
            )
            trips[-1] |= {"fees": D(0), "pnl": D(0), "exit": None, "reason": "end"}
            flat = False
        trip = trips[-1]
        trip["fees"] += fill.fee
        value = fill.quantity * fill.price
        if fill.side is Side.BUY:
            trip["bought"], trip["cost"] = trip["bought"] + fill.quantity, trip["cost"] + value
            continue
        trip["sold"], trip["got"] = trip["sold"] + fill.quantity, trip["got"] + value
        trip["pnl"] += one.pnl or D(0)
        if one.order.status == "filled":
            trip |= {"exit": fill.timestamp_ms, "reason": one.order.reason or "signal"}
            flat = True
    return trips


def compared(
    strategy: Given,
    candles: pl.DataFrame,
    request: BacktestRequest,
    config: BotFile,
    path: pl.DataFrame | None,
) -> None:
    """Equity of each candle; times, prices, amounts, fees, profits and reasons of all round trips."""
    timeframe = Timeframe(request.timeframe)
    backtest = run(strategy, candles, request, path=path)
    rules = rules_of(config, strategy, ENDLESS)
    if timeframe is Timeframe.M15:
        rules = structs.replace(rules, bot_name="quarters")
    inside = bars_of(lay_under(candles, path, timeframe))
    equity, fills, account = walk(rules, candles, inside, evaluate(strategy, candles))
    assert [float(value) for value in equity] == pytest.approx(backtest.equity["equity"].to_list(), rel=1e-9)
    trips, trades = round_trips(fills), backtest.trades
    assert [trip["reason"] for trip in trips] == trades["exit_reason"].to_list()
    assert [trip["entry"] for trip in trips] == [to_ms(at) for at in trades["entry_time"]]
    closed = trades.filter(pl.col("exit_reason") != "end")
    done = [trip for trip in trips if trip["exit"] is not None]
    assert [trip["exit"] for trip in done] == [to_ms(at) for at in closed["exit_time"]]
    for name, found in {
        "entry_price": [trip["cost"] / trip["bought"] for trip in done],
        "exit_price": [trip["got"] / trip["sold"] for trip in done],
        "fees": [trip["fees"] for trip in done],
        "quantity": [trip["sold"] for trip in done],
    }.items():
        assert [float(value) for value in found] == pytest.approx(closed[name].to_list(), rel=1e-9, abs=1e-9)
    pnl = [float(trip["pnl"]) for trip in done]
    assert pnl == pytest.approx(closed["pnl"].to_list(), rel=1e-9, abs=1e-6)
    assert account.portfolio.total_trades == len(done)
    assert account.portfolio.winning_trades == sum(trip["pnl"] > 0 for trip in done)


@given(markets(), executions, risks, sizes, st.sampled_from([0.0, 0.4]))
@settings(max_examples=120, deadline=None)
def test_every_order_and_cost_equals_the_kernel(
    market: tuple[pl.DataFrame, Given],
    execution: dict[str, Any],
    risk: dict[str, Any],
    size: dict[str, Any],
    missing: float,
) -> None:
    """Market, limit and stop entries, expiry, maker fees, tiers, spread, slippage, impact, partial fills, all
    exits and sizes, on whole candles, some of them missing: every fill within 1e-9."""
    candles, strategy = with_holes(*market, seed=market[0].height, part=missing)
    if not (candles["volume"] > 0).any():
        return
    chosen = options(execution)
    request = BacktestRequest(
        strategy="given",
        symbol="BTC-USDT",
        timeframe="1h",
        slippage=0.0005,
        risk=risk | size,
        execution=chosen,
    )
    config = file_of(chosen | {"intrabar": "candle"}, risk | size, "1h")
    compared(strategy, candles, request, config, None)


@given(
    markets(),
    executions,
    risks,
    gates,
    st.fixed_dictionaries({"max_daily_loss": limits, "max_drawdown": limits}),
)
@settings(max_examples=150, deadline=None)
def test_the_gate_of_a_bot_is_that_of_the_kernel_of_orders(
    market: tuple[pl.DataFrame, Given],
    execution: dict[str, Any],
    risk: dict[str, Any],
    gate: dict[str, Any],
    losses: dict[str, Any],
) -> None:
    """Every limit of the risk gate over orders that wait, expire and are filled in parts: what it lets
    through, and how large, is the same, so that every fill is within 1e-9."""
    candles, strategy = market
    if not (candles["volume"] > 0).any():
        return
    stops = (*losses.values(), gate.get("max_consecutive_losses"))
    halts = gate.get("halt_until_reset", False) and any(stops)
    risk, chosen = risk | losses | gate | {"halt_until_reset": halts}, options(execution)
    request = BacktestRequest(
        strategy="given", symbol="BTC-USDT", timeframe="1h", slippage=0.0005, risk=risk, execution=chosen
    )
    config = file_of(chosen | {"intrabar": "candle"}, risk, "1h")
    compared(strategy, candles, request, config, None)


@given(st.integers(0, 999), st.integers(0, 999), st.sampled_from(["minutes", "trades"]), executions, risks)
@settings(max_examples=40, deadline=None)
def test_the_path_inside_candles_is_walked_as_the_kernel_does(
    seed: int, chosen: int, inside: str, execution: dict[str, Any], risk: dict[str, Any]
) -> None:
    """On minutes or single trades under quarter hours: every fill within 1e-9."""
    minutes = sample_candles(15 * 40, seed=seed).with_columns(
        pl.col("open", "high", "low", "close").round(2), volume=pl.col("volume") * 40
    )
    candles = resample(minutes, Timeframe.M15, Timeframe.M1)
    random = np.random.default_rng(chosen)
    strategy = Given(list(random.random(40) < 0.5), list(random.random(40) < 0.2))
    path = bars_of_candles(minutes) if inside == "minutes" else _trades(minutes)
    tight = {n: v and v / 7 for n, v in risk.items() if n not in ("max_candles", "max_position_fraction")}
    tight["max_candles"] = risk["max_candles"]
    options_ = options(execution)
    request = BacktestRequest(
        strategy="given", symbol="BTC-USDT", timeframe="15m", slippage=0.0005, risk=tight, execution=options_
    )
    compared(strategy, candles, request, file_of(options_, tight, "15m"), path)
