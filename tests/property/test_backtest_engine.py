"""The compiled walk against a naive account kept candle by candle in exact decimals."""

from dataclasses import dataclass, field
from decimal import Decimal, localcontext

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import fills
from core.instruments import Instrument
from core.metrics import METRICS, YEAR_MS
from pipelines.backtest.account import bought
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import execute_sweep
from strategies import registry
from strategies.base import Strategy
from strategies.evaluate import evaluate
from strategies.sample import sample_candles

MARKET = {"symbol": "BTC-USDT", "timeframe": "1m"}
D = Decimal
ZERO = D(0)


@dataclass
class NaiveAccount:
    """Cash and coins, one candle after the other, nothing clever."""

    cash: Decimal
    fee: Decimal
    slippage: Decimal
    in_quote: bool
    coins: Decimal = ZERO
    spent: Decimal = ZERO
    entry_fee: Decimal = ZERO
    fees: Decimal = ZERO
    results: list[Decimal] = field(default_factory=list)

    def buy(self, market: Decimal) -> None:
        price = market * (1 + self.slippage)
        self.spent = self.cash
        if self.in_quote:
            self.coins = self.cash / (price * (1 + self.fee))
            self.entry_fee = self.coins * price * self.fee
        else:
            self.coins = self.cash / price * (1 - self.fee)
            self.entry_fee = self.cash * self.fee
        self.cash = D(0)

    def fill(self, order: str, market: Decimal) -> None:
        if order == "buy":
            self.buy(market)
        if order == "sell":
            self.sell(market)

    def sell(self, market: Decimal) -> None:
        proceeds = self.coins * market * (1 - self.slippage)
        self.cash = proceeds * (1 - self.fee)
        self.fees += self.entry_fee + proceeds * self.fee
        self.results.append(self.cash - self.spent)
        self.coins, self.entry_fee = D(0), D(0)


def naive(
    candles: pl.DataFrame, signals: pl.DataFrame, request: BacktestRequest
) -> tuple[list[Decimal], NaiveAccount]:
    """Equity at each close and the account, by the meanings of the contract alone."""
    account = NaiveAccount(
        D(request.cash), D(str(request.fee)), D(str(request.slippage)), request.pays_in_quote
    )
    equity, order, silent = [], "", 0
    unknown = not (candles["volume"] > 0).any()
    for candle, signal in zip(candles.iter_rows(named=True), signals.iter_rows(named=True), strict=True):
        opened, close = D(candle["open"]), D(candle["close"])
        traded = candle["volume"] > 0 or unknown
        silent = 0 if traded else silent + 1
        if request.fill == "open" and traded:
            account.fill(order, opened)
            order = ""
        said = "buy" if signal["buy"] else "sell" if signal["sell"] else ""
        if order and said:
            order = order if said == order else ""  # against it: withdrawn
        elif (said == "buy" and not account.coins and silent <= 5) or (said == "sell" and account.coins):
            order = said
        if request.fill == "close":
            account.fill(order, close)
            order = ""
        equity.append(account.cash + account.coins * close)
    account.fees += account.entry_fee
    if account.coins:
        account.results.append(equity[-1] - account.spent)
    return equity, account


def silenced(candles: pl.DataFrame, seed: int, share: float) -> pl.DataFrame:
    """The candles with that share of them without a trade: flat at the close before, in runs of any length;
    all of them is the same as a volume that is not known."""
    silent = np.random.default_rng(seed).random(candles.height) < share
    silent[:1] = share == 1.0
    flat = pl.Series(silent)
    if share == 1.0:
        return candles.with_columns(volume=0.0)
    close = pl.when(flat).then(None).otherwise("close").forward_fill()
    quiet = candles.with_columns(close=close, volume=pl.when(flat).then(0.0).otherwise("volume"))
    prices = {name: pl.when(flat).then("close").otherwise(name) for name in ("open", "high", "low")}
    return quiet.with_columns(**prices)


class Given(Strategy):
    """Signals out of a table, to test the walk alone."""

    name = "given"

    def __init__(self, buy: list[bool], sell: list[bool]) -> None:
        self._signals = pl.DataFrame({"buy": buy, "sell": sell})
        self.timeframe = None

    warmup = 1
    window = 1
    indicator_names = ()

    def judge(self, candles: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([candles, self._signals], how="horizontal").with_columns(confidence=1.0)


@st.composite
def situations(draw: st.DrawFn) -> tuple[pl.DataFrame, Given, BacktestRequest]:
    """Candles, signals on any of them, costs."""
    count = draw(st.integers(1, 120))
    candles = sample_candles(count, draw(st.sampled_from(["1m", "4h", "1d"])), draw(st.integers(0, 999)))
    candles = silenced(candles, draw(st.integers(0, 999)), draw(st.sampled_from([0.0, 0.2, 0.85, 1.0])))
    flags = st.lists(st.booleans(), min_size=count, max_size=count)
    request = BacktestRequest(
        strategy="given",
        symbol="BTC-USDT",
        timeframe="1m",
        fee=draw(st.sampled_from([0.0, 0.001, 0.02])),
        slippage=draw(st.sampled_from([0.0, 0.0005, 0.01])),
        fill=draw(st.sampled_from(["open", "close"])),
        fee_currency=draw(st.sampled_from([None, "received", "quote"])),
        cash=draw(st.sampled_from([100.0, 10_000.0])),
    )
    return candles, Given(draw(flags), draw(flags)), request


@given(situations())
@settings(max_examples=150, deadline=None)
def test_the_walk_equals_a_naive_account(situation: tuple[pl.DataFrame, Given, BacktestRequest]) -> None:
    """Equity of every candle, fees, and the result of every round trip equal exact decimals within 1e-9."""
    from pipelines.backtest.engine import run

    candles, strategy, request = situation
    with localcontext(prec=50):
        equity, account = naive(candles, evaluate(strategy, candles), request)
    outcome = run(strategy, candles, request)
    assert outcome.equity["equity"].to_list() == pytest.approx([float(e) for e in equity], rel=1e-9)
    assert outcome.metrics["fees"] == pytest.approx(float(account.fees), rel=1e-9)
    assert outcome.trades["pnl"].to_list() == pytest.approx(
        [float(result) for result in account.results], rel=1e-9, abs=1e-9 * request.cash
    )
    assert outcome.final_value == outcome.equity["equity"][-1]
    by_price = outcome.trades["quantity"] * (outcome.trades["exit_price"] - outcome.trades["entry_price"])
    if request.pays_in_quote or request.fee == 0 or not outcome.trades.height:
        assert (by_price - outcome.trades["fees"] - outcome.trades["pnl"]).abs().sum() < 1e-6 * request.cash


@given(st.floats(0.01, 1e5), st.floats(10, 1e6), st.sampled_from([0.0, 0.0008, 0.001, 0.05]))
@settings(deadline=None)
def test_a_buy_is_the_paper_brokers_buy(price: float, cash: float, fee: float) -> None:
    """Coins and fee of a backtest's buy equal those of the exact fill functions, but for the lot size."""
    fine = Instrument("BTC-USDT", "BTC", "USDT", D("1e-18"), D("1e-18"), D("1e-18"))
    fill = fills.market_buy(fine, D(cash), D(price), fills.Costs(fee=D(str(fee))), 0)
    assert isinstance(fill, fills.Fill)
    coins, charged = bought(cash, price, fee, False)
    assert coins == pytest.approx(float(fill.base_change), rel=1e-9)
    assert charged == pytest.approx(float(fill.fee), rel=1e-9, abs=1e-15)


def same(one: object, two: object, within: float = 1e-9) -> bool:
    """Equal within that, None only with None."""
    if one is None or two is None:
        return one is two
    return one == pytest.approx(two, rel=within, abs=within)


GRIDS = [
    ("ema_crossover", {"fast_period": [2, 5, 9], "slow_period": [6, 20, 45]}),
    ("sma_crossover", {"fast_period": [2, 5], "slow_period": [20, 45]}),
    ("rsi_reversion", {"period": [3, 14], "oversold": [20, 40]}),
    ("macd_trend", {"fast_period": [3, 12], "signal_period": [4, 9]}),
    ("bollinger_reversion", {"period": [5, 20], "deviations": [1.0, 2.5]}),
    ("trend_filter", {"fast_period": [3, 12], "trend_timeframe": ["5m", "15m"]}),
    ("buy_and_hold", {"risk_percentage": [0.01]}),
    ("donchian_breakout", {"entry_period": [10, 30], "stop_distance": [2.0, 4.0]}),
    ("volatility_target", {"period": [60], "target": [0.5, 0.8]}),
    ("grid_trading", {"spacing": [0.002, 0.005], "session_hours": [4]}),
]


@pytest.mark.parametrize(("fill", "silent"), [("open", 0.0), ("close", 0.0), ("open", 0.8), ("close", 0.8)])
@pytest.mark.parametrize(("name", "grid"), GRIDS, ids=[name for name, _ in GRIDS])
def test_a_sweeps_rows_are_single_backtests(name: str, grid: dict, fill: str, silent: float) -> None:
    """Every metric of every row equals the single backtest's within 1e-9, with a warm-up before the start,
    also where most candles have no trade."""
    candles = silenced(sample_candles(6_000, seed=3), 4, silent)
    market = MARKET | {"fill": fill, "start": candles["timestamp"][1_000], "slippage": 0.0002}
    table = execute_sweep(SweepRequest(strategy=name, grid=grid, **market), candles=candles)
    for row in table.iter_rows(named=True):
        parameters = {key: row[key] for key in grid}
        single = execute(BacktestRequest(strategy=name, parameters=parameters, **market), candles=candles)
        for metric in METRICS:
            assert same(row[metric], single.metrics[metric]), (parameters, metric)


@given(situations())
@settings(max_examples=100, deadline=None)
def test_walking_events_equals_walking_candles(
    situation: tuple[pl.DataFrame, Given, BacktestRequest],
) -> None:
    """On any signals, gains and drawdowns from look-ups equal those of the walk over every candle."""
    from pipelines.backtest.engine import run
    from pipelines.sweep.crossings import costs
    from pipelines.sweep.events import walk_flags
    from pipelines.sweep.general import SharedColumns
    from pipelines.sweep.prices import prepare
    from pipelines.sweep.table import metrics_of
    from pipelines.sweep.walk import new_states

    candles, strategy, request = situation
    prices = prepare(candles, request.fill == "open", request.candle_ms)
    floats, integers = new_states(1, request.cash)
    signals = SharedColumns(candles, None, 4).signals(strategy)
    walk_flags(floats[0], integers[0], *signals, 0, costs(request), prices)
    columns = metrics_of(floats, integers, prices, request.cash)
    single = run(strategy, candles, request).metrics
    for metric in METRICS:
        value = float(columns[metric][0])
        within = 1e-9
        if metric == "sharpe_bar" and single[metric]:
            # A mean far above the deviation takes the digits of the deviation, by the square of their ratio.
            within = max(within, 1e-15 * float(single[metric] or 0) ** 2 * request.candle_ms / YEAR_MS)
        assert same(value if np.isfinite(value) else None, single[metric], within), metric


@pytest.mark.parametrize("left", [0.1, 1e-3, 1e-5])
def test_a_crash_takes_no_digits_of_what_comes_after_it(left: float) -> None:
    """A candle that closes at a hundred-thousandth of the price, and the return back up, whose square is
    10^10: combinations that held nothing there have all metrics within 1e-9."""
    candles = sample_candles(1_500)
    struck = pl.int_range(pl.len()) == 300
    candles = candles.with_columns(close=pl.when(struck).then(pl.col("close") * left).otherwise("close"))
    candles = candles.with_columns(low=pl.min_horizontal("low", "close"))
    periods = [14, 20]
    table = execute_sweep(
        SweepRequest(strategy="rsi_reversion", grid={"period": periods}, **MARKET), candles=candles
    )
    for row in table.iter_rows(named=True):
        own = {"period": row["period"]}
        single = execute(BacktestRequest(strategy="rsi_reversion", parameters=own, **MARKET), candles=candles)
        for metric in METRICS:
            assert same(row[metric], single.metrics[metric]), metric


def test_an_account_that_moves_by_roundings_alone_has_no_ratio() -> None:
    """Closes that differ in their last digit are the same close, for a sweep as for a backtest."""
    close = pl.when(pl.int_range(pl.len()) % 3 == 0).then(float(np.nextafter(100.0, 101))).otherwise(100.0)
    candles = sample_candles(500).with_columns(**dict.fromkeys(("open", "high", "low", "close"), close))
    candles = candles.with_columns(high=pl.max_horizontal("high", "close"), volume=1.0)
    market = MARKET | {"strategy": "buy_and_hold", "fee": 0.0, "fill": "close"}
    (row,) = execute_sweep(SweepRequest(grid={"risk_percentage": [0.01]}, **market), candles=candles).rows(
        named=True
    )
    assert execute(BacktestRequest(**market), candles=candles).metrics["sharpe_bar"] is None
    assert (row["trades"], row["sharpe_bar"]) == (1, None)


@pytest.mark.parametrize("size", [1e-3, 1e-5, 1e-7, 1e-9])
def test_returns_have_the_digits_that_prices_have(size: float) -> None:
    """A price has 16 digits, so a return of 1e-9 has seven of them in a sweep and in a backtest."""
    moves = np.random.default_rng(8).normal(0.0, size, 4_000)
    close, candles = pl.Series(100 * np.cumprod(1 + moves)), sample_candles(4_000)
    candles = candles.with_columns(**dict.fromkeys(("open", "high", "low", "close"), close))
    market = MARKET | {"strategy": "ema_crossover", "fee": 0.0}
    grid = {"fast_period": [5, 9], "slow_period": [20, 45]}
    for row in execute_sweep(SweepRequest(grid=grid, **market), candles=candles).iter_rows(named=True):
        own = {name: row[name] for name in grid}
        single = execute(BacktestRequest(parameters=own, **market), candles=candles)
        assert same(row["sharpe_bar"], single.metrics["sharpe_bar"], max(1e-9, 1e-14 / size))


def test_no_strategy_is_left_out() -> None:
    """Every strategy that ships is among the grids above."""
    assert sorted(name for name, _ in GRIDS) == registry.shipped()
