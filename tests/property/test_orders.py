"""The kernel of orders against a naive account in exact decimals, for every option it has."""

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal, localcontext
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.backtest.engine import run
from pipelines.backtest.intrabar import bars_of_candles, bars_of_trades, lay_under
from pipelines.backtest.request import BacktestRequest
from strategies.base import Strategy
from strategies.columns import resample
from strategies.evaluate import evaluate
from strategies.sample import sample_candles
from tests.property.test_exits import Given, maybe, wild_candles

D = Decimal
ZERO = D(0)
NEVER, ALWAYS = D("-Infinity"), D("Infinity")
DAY = timedelta(days=1)


@dataclass
class Bar:
    """One bar of the finest path; last: it ends its candle."""

    begins: Any
    ends: Any
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    last: bool


@dataclass
class Account:
    """Everything a plain account has to remember, one order at most, one position at most."""

    request: BacktestRequest
    cash: Decimal
    coins: Decimal = ZERO
    received: Decimal = ZERO
    spent: Decimal = ZERO
    fees: Decimal = ZERO
    gained: Decimal = ZERO
    highest: Decimal = ZERO
    order: str = ""  # buy, or the reason of a sale
    kind: str = ""
    budget: Decimal = ZERO
    trigger: Decimal = ZERO
    fresh: bool = False
    age: int = 0
    silent: int = 0  # candles without a trade, in a row; more than five veto a buy
    entered: int = 0
    entry_time: Any = None
    traded: list[tuple[Any, Decimal]] = field(default_factory=list)
    trades: list[tuple[Any, Any, str, Decimal, Decimal]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.risk, self.terms = self.request.risk, self.request.execution
        assert self.risk is not None and self.terms is not None

    def fee_of(self, maker: bool, day: Any) -> Decimal:
        terms = self.terms
        if terms.fee_tiers:
            value = sum((v for when, v in self.traded if day - 30 * DAY <= when < day), D(0))
            tier = [tier for tier in terms.fee_tiers if value >= D(str(tier.traded))][-1]
            return D(str(tier.maker if maker else tier.taker))
        if maker and terms.maker_fee is not None:
            return D(str(terms.maker_fee))
        return D(str(self.request.fee))

    def worse(self, price: Decimal, side: int, coins: Decimal, volume: Decimal) -> Decimal:
        terms = self.terms
        part = min(coins / volume, D(1)) if volume else D(0)
        against = D(str(self.request.slippage)) + D(str(terms.impact)) * part**2
        return (price + side * D(str(terms.spread)) / 2) * (1 + side * against)

    def most(self, volume: Decimal) -> Decimal:
        share = self.terms.volume_share
        return ALWAYS if share is None else D(str(share)) * volume

    def buy(self, bar: Bar, price: Decimal, maker: bool) -> None:
        day = bar.begins.replace(hour=0, minute=0, second=0, microsecond=0)
        fee, most = self.fee_of(maker, day), self.most(bar.volume)
        budget = min(self.budget, self.cash)
        paid = price
        if not maker:
            paid = self.worse(price, 1, min(budget / price, most), bar.volume)
            if self.kind == "limit":
                paid = min(paid, self.trigger)
        if self.request.pays_in_quote:
            gross = min(budget / (paid * (1 + fee)), most)
            spend, net = gross * paid * (1 + fee), gross
        else:
            gross = min(budget / paid, most)
            spend, net = gross * paid, gross * (1 - fee)
        self.cash -= spend
        self.budget -= spend
        self.coins += net
        self.received += net
        self.spent += spend
        self.fees += gross * paid * fee
        self.highest = max(self.highest, price)
        self.traded.append((day, gross * paid))
        if min(self.budget, self.cash) < D("1e-30"):
            self.order = ""

    def sell(self, bar: Bar, price: Decimal, at: Any) -> None:
        day = bar.begins.replace(hour=0, minute=0, second=0, microsecond=0)
        fee = self.fee_of(False, day)
        coins = min(self.coins, self.most(bar.volume))
        got = coins * self.worse(price, -1, coins, bar.volume)
        self.cash += got * (1 - fee)
        self.gained += got * (1 - fee)
        self.fees += got * fee
        self.coins -= coins
        self.traded.append((day, got))
        if self.coins == 0:
            self.close(at, self.order)
            self.order = ""

    def close(self, at: Any, reason: str, value: Decimal = ZERO) -> None:
        self.trades.append((self.entry_time, at, reason, self.fees, self.gained + value - self.spent))
        self.received = self.spent = self.fees = self.gained = D(0)

    def enter(self, bar: Bar, candle: int) -> tuple[Decimal, str] | None:
        """Price and order of an entry inside the bar."""
        price, inside = bar.open, False
        if self.kind == "limit" and bar.open > self.trigger:
            if bar.low >= self.trigger:
                self.fresh = False
                return None
            price, inside = self.trigger, True
        if self.kind == "stop" and bar.open < self.trigger:
            if bar.high < self.trigger:
                self.fresh = False
                return None
            price, inside = self.trigger, True
        maker = self.kind == "limit" and (inside or not self.fresh)
        new, kind = not self.coins, self.kind
        if new:
            self.entry_time, self.entered = (bar.ends if inside else bar.begins), candle
            self.highest = D(0)
        self.buy(bar, price, maker)
        self.fresh = False
        if self.kind == "stop":
            self.kind = "market"
        return (price, kind) if inside and new else None

    def protect(self, bar: Bar, entered: tuple[Decimal, str] | None) -> None:
        first, high, limited = bar.open, bar.high, False
        if entered is not None:
            first, limited = entered[0], entered[1] == "limit"
            high = max(first, bar.close) if limited else bar.high
        risk, average = self.risk, self.spent / self.received
        stop = average * (1 - risk.stop_loss) if risk.stop_loss else NEVER
        target = average * (1 + risk.take_profit) if risk.take_profit else ALWAYS
        trailing = risk.trailing_stop
        self.highest = max(self.highest, first)
        trail = self.highest * (1 - trailing) if trailing else NEVER
        if bar.low <= max(stop, trail):
            self.leave(bar, min(first, max(stop, trail)), "stop_loss" if stop >= trail else "trailing_stop")
        elif high >= target:
            self.leave(bar, max(first, target), "take_profit")
        elif trailing and high > self.highest:
            self.highest = high
            if not limited and bar.low <= high * (1 - trailing):
                self.leave(bar, high * (1 - trailing), "trailing_stop")

    def leave(self, bar: Bar, price: Decimal, reason: str) -> None:
        self.order = reason
        self.sell(bar, price, bar.ends)

    def trade(self, bar: Bar, candle: int) -> None:
        entered = None
        if self.order == "buy":
            entered = self.enter(bar, candle)
        elif self.order:
            self.sell(bar, bar.open, bar.begins)
        if self.coins and self.order in ("", "buy"):
            self.protect(bar, entered)

    def decide(self, candle: int, signal: dict[str, Any], close: Decimal) -> None:
        if self.order == "buy":
            self.age += 1
            if self.kind != "market" and self.age >= self.terms.expires:
                self.order = ""
        if self.order in ("", "buy", "signal", "time"):
            self.hear(candle, signal, close)
        timed = self.risk.max_candles and candle - self.entered + 1 >= self.risk.max_candles
        if self.coins and not self.order and timed:
            self.order, self.kind = "time", "market"

    def hear(self, candle: int, signal: dict[str, Any], close: Decimal) -> None:
        if signal["sell"]:
            if self.order == "buy":
                self.order = ""
            if self.coins and not self.order:
                self.order, self.kind = "signal", "market"
        elif signal["buy"] and self.order in ("signal", "time"):
            self.order = ""
        elif signal["buy"] and not self.order and not self.coins and self.silent <= 5:
            risk = self.risk
            amount = risk.size if risk.sizing == "fixed" else self.cash * (risk.size or 1)
            self.budget = min(amount, self.cash * risk.max_position_fraction)
            self.order, self.kind, self.age, self.fresh = "buy", self.terms.order, 0, True
            away = 1 if self.kind == "stop" else -1
            self.trigger = close * (1 + away * D(str(self.terms.offset)))


def naive(
    candles: list[list[Bar]], signals: pl.DataFrame, request: BacktestRequest
) -> tuple[list[Decimal], Account]:
    """Equity at each close, and the account."""
    account, equity = Account(request, D(request.cash)), []
    for n, (bars, signal) in enumerate(zip(candles, signals.iter_rows(named=True), strict=True)):
        for bar in bars:
            if bar.volume > 0:
                account.trade(bar, n)
        account.silent = 0 if any(bar.volume for bar in bars) else account.silent + 1
        close = bars[-1].close
        equity.append(account.cash + account.coins * close)
        account.decide(n, signal, close)
    if account.coins:
        account.close(bars[-1].ends, "end", account.coins * close)
    return equity, account


def bars_by_candle(laid: pl.DataFrame) -> list[list[Bar]]:
    """Bars of each candle, exact."""
    prices = ("open", "high", "low", "close", "volume")
    found = []
    for _, rows in groupby(laid.iter_rows(named=True), key=lambda row: row["candle"]):
        found.append([Bar(r["begins"], r["ends"], *(D(r[name]) for name in prices), r["last"]) for r in rows])
    return found


def with_volume(candles: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The candles with volumes around what an account of 10,000 buys; none where none was."""
    volume = np.random.default_rng(seed).exponential(150.0, candles.height)
    return candles.with_columns(volume=pl.when(pl.col("volume") > 0).then(pl.Series(volume)).otherwise(0.0))


TIERS = [
    {"traded": 0, "maker": 0.002, "taker": 0.003},
    {"traded": 15_000, "maker": 0.001, "taker": 0.002},
    {"traded": 60_000.5, "maker": 0.0, "taker": 0.0005},
]

executions = st.fixed_dictionaries(
    {
        "kind": st.sampled_from([("market", 0.0), ("limit", 0.0037), ("limit", 0.0), ("stop", 0.0041)]),
        "expires": st.sampled_from([1, 2, 5]),
        "fees": st.sampled_from([{}, {"maker_fee": 0.0002}, {"fee_tiers": TIERS}]),
        "volume_share": st.sampled_from([None, 0.1, 0.5]),
        "spread": st.sampled_from([0.0, 0.05]),
        "impact": st.sampled_from([0.0, 0.1]),
    }
)
risks = st.fixed_dictionaries(
    {
        "stop_loss": maybe,
        "take_profit": maybe,
        "trailing_stop": maybe,
        "max_candles": st.sampled_from([None, 1, 3, 9]),
        "max_position_fraction": st.sampled_from([D(1), D("0.6")]),
    }
)
sizes = st.sampled_from([{}, {"sizing": "fixed", "size": D(3_000)}, {"sizing": "percent", "size": D("0.4")}])


@st.composite
def markets(draw: st.DrawFn) -> tuple[pl.DataFrame, Given]:
    """Hourly candles over some days with volumes, and signals on any of them."""
    count = draw(st.integers(1, 90))
    candles = wild_candles(count, draw(st.integers(0, 9_999)), draw(st.sampled_from([0.0, 0.3])))
    random = np.random.default_rng(draw(st.integers(0, 9_999)))
    often = draw(st.sampled_from([0.1, 0.5, 0.9]))
    signals = Given(list(random.random(count) < often), list(random.random(count) < 0.15))
    return with_volume(candles, draw(st.integers(0, 9_999))), signals


def compared(
    strategy: Strategy, candles: pl.DataFrame, request: BacktestRequest, path: pl.DataFrame | None
) -> None:
    """The engine's equity, times, reasons, fees and profits are the naive account's."""
    laid = lay_under(candles, path, Timeframe(request.timeframe))
    with localcontext(prec=50):
        equity, account = naive(bars_by_candle(laid), evaluate(strategy, candles), request)
    outcome = run(strategy, candles, request, path=path)
    assert outcome.equity["equity"].to_list() == pytest.approx([float(e) for e in equity], rel=1e-9)
    trades = outcome.trades
    assert trades["exit_reason"].to_list() == [reason for _, _, reason, _, _ in account.trades]
    assert trades["entry_time"].to_list() == [entry for entry, *_ in account.trades]
    assert trades["exit_time"].to_list() == [leave for _, leave, *_ in account.trades]
    fees, pnl = [float(f) for *_, f, _ in account.trades], [float(p) for *_, p in account.trades]
    assert trades["fees"].to_list() == pytest.approx(fees, rel=1e-9, abs=1e-9)
    assert trades["pnl"].to_list() == pytest.approx(pnl, rel=1e-9, abs=1e-6)
    assert outcome.metrics["fees"] == pytest.approx(sum(fees), rel=1e-9, abs=1e-9)


def options(drawn: dict[str, Any]) -> dict[str, Any]:
    """The drawn execution as a document."""
    order, offset = drawn["kind"]
    plain = {name: drawn[name] for name in ("expires", "volume_share", "spread", "impact")}
    return {"order": order, "offset": offset, **drawn["fees"], **plain}


@given(markets(), executions, risks, sizes, st.sampled_from([None, "quote"]))
@settings(max_examples=200, deadline=None)
def test_every_order_and_cost_equals_a_naive_account(
    market: tuple[pl.DataFrame, Given],
    execution: dict[str, Any],
    risk: dict[str, Any],
    size: dict[str, Any],
    pays: str | None,
) -> None:
    """Market, limit and stop entries, expiry, maker fees, tiers, spread, slippage, impact, partial fills, all
    exits and sizes: equity of every candle, and time, reason, fees and profit of every trade."""
    candles, strategy = market
    request = BacktestRequest(
        strategy="given",
        symbol="BTC-USDT",
        timeframe="1h",
        slippage=0.0005,
        fee_currency=pays,
        risk=risk | size,
        execution=options(execution),
    )
    if not (candles["volume"] > 0).any():
        return
    compared(strategy, candles, request, None)


@given(
    st.integers(0, 999),
    st.integers(0, 999),
    st.sampled_from(["minutes", "trades", "half"]),
    executions,
    risks,
)
@settings(max_examples=80, deadline=None)
def test_the_path_inside_candles_equals_a_naive_account(
    seed: int, chosen: int, inside: str, execution: dict[str, Any], risk: dict[str, Any]
) -> None:
    """On minutes or trades below quarter hours every fill happens in the bar where its price was reached; a
    candle that the path does not cover exactly is taken as a whole."""
    minutes = sample_candles(15 * 40, seed=seed).with_columns(
        pl.col("open", "high", "low", "close").round(2), volume=pl.col("volume") * 40
    )
    candles = resample(minutes, Timeframe.M15, Timeframe.M1)
    random = np.random.default_rng(chosen)
    strategy = Given(list(random.random(40) < 0.5), list(random.random(40) < 0.2))
    path = bars_of_candles(minutes)
    if inside == "trades":
        path = _trades(minutes)
    if inside == "half":
        path = path.gather(np.sort(random.choice(path.height, path.height // 2, replace=False)))
    tight = {name: value and value / 7 for name, value in risk.items() if name not in ("max_candles",)}
    request = BacktestRequest(
        strategy="given",
        symbol="BTC-USDT",
        timeframe="15m",
        risk=tight | {"max_candles": risk["max_candles"], "max_position_fraction": D(1)},
        execution=options(execution),
    )
    compared(strategy, candles, request, path)


def _trades(minutes: pl.DataFrame) -> pl.DataFrame:
    """Four trades a minute that make its candle; one in a minute without volume makes none."""
    rows = []
    for m in minutes.filter(pl.col("volume") > 0).iter_rows(named=True):
        begin = m["timestamp"] - timedelta(minutes=1)
        prices = (m["open"], m["low"], m["high"], m["close"])
        rows += [(begin + timedelta(seconds=15 * n), p, m["volume"] / 4) for n, p in enumerate(prices)]
    schema = {"timestamp": pl.Datetime("us", "UTC"), "price": pl.Float64, "size": pl.Float64}
    return bars_of_trades(pl.DataFrame(rows, schema=schema, orient="row"))


def test_covered_candles_are_counted() -> None:
    """Every quarter is covered by its minutes; one whose minutes say something else is not."""
    minutes = sample_candles(15 * 20)
    candles = resample(minutes, Timeframe.M15, Timeframe.M1)
    request = BacktestRequest(
        strategy="given", symbol="BTC-USDT", timeframe="15m", execution={"intrabar": "1m"}
    )
    strategy = Given([True] * 20, [False] * 20)
    path = bars_of_candles(minutes)
    assert run(strategy, candles, request, path=path).covered == 20
    wrong = path.with_columns(high=pl.when(pl.int_range(pl.len()) == 17).then(1e6).otherwise("high"))
    assert run(strategy, candles, request, path=wrong).covered == 19
    assert run(strategy, candles, request).covered == 0


def test_the_path_decides_which_exit_came_first() -> None:
    """A candle that touches profit and stop is a loss as a whole, and a profit where its minutes say so."""
    minutes = sample_candles(5).with_columns(
        open=pl.Series([100.0, 100.0, 103.0, 100.0, 96.0]),
        high=pl.Series([100.0, 103.0, 103.0, 100.0, 96.0]),
        low=pl.Series([100.0, 100.0, 100.0, 96.0, 96.0]),
        close=pl.Series([100.0, 103.0, 100.0, 96.0, 96.0]),
        volume=pl.lit(5.0),
    )
    before = minutes.with_columns(
        pl.col("timestamp") - timedelta(minutes=5), open=100.0, high=100.0, low=100.0, close=100.0
    )
    candles = resample(pl.concat([before, minutes]), Timeframe.M5, Timeframe.M1)
    block = {"stop_loss": 0.02, "take_profit": 0.02}
    request = BacktestRequest(
        strategy="given", symbol="BTC-USDT", timeframe="5m", fee=0.0, risk=block, execution={}
    )
    strategy = Given([True, False], [False, False])
    whole = run(strategy, candles, request).trades
    assert whole["exit_reason"].to_list() == ["stop_loss"]
    fine = run(strategy, candles, request, path=bars_of_candles(minutes)).trades
    assert fine["exit_reason"].to_list() == ["take_profit"]
    assert fine["exit_price"].to_list() == [102.0]
    assert fine["exit_time"].to_list() == [minutes["timestamp"][1]]


@pytest.mark.parametrize(
    ("execution", "field"),
    [
        ({"offset": 0.01}, "offset"),
        ({"order": "limit", "offset": 1.0}, "execution.offset"),
        ({"order": "iceberg"}, "execution.order"),
        ({"order": "limit", "expires": 0}, "execution.expires"),
        ({"volume_share": 0}, "execution.volume_share"),
        ({"spread": -1}, "execution.spread"),
        ({"impact": float("nan")}, "execution.impact"),
        ({"maker_fee": 0.0, "fee_tiers": TIERS}, "maker_fee"),
        ({"fee_tiers": TIERS[1:]}, "fee_tiers"),
        ({"fee_tiers": TIERS[::-1]}, "fee_tiers"),
        ({"patience": 3}, "execution.patience"),
    ],
)
def test_wrong_options_are_named(execution: dict[str, Any], field: str) -> None:
    """A wrong option is one line that names the field."""
    values = {"strategy": "x", "symbol": "BTC-USDT", "timeframe": "1m", "execution": execution}
    with pytest.raises(BadInput) as caught:
        BacktestRequest.read(values)
    assert caught.value.field == field


PLAIN = {"strategy": "given", "symbol": "X-Y", "timeframe": "1m"}


def test_volume_has_to_be_known_where_it_decides() -> None:
    """A part of no volume would fill nothing for ever: refused. So are orders that wait with fill close."""
    candles = sample_candles(50).with_columns(volume=0.0)
    strategy = Given([True] * 50, [False] * 50)
    for option in ({"volume_share": 0.1}, {"impact": 0.1}):
        request = BacktestRequest(strategy="given", symbol="X-Y", timeframe="1m", execution=option)
        with pytest.raises(BadInput, match="need candles with a volume"):
            run(strategy, candles, request)
    values = {"strategy": "x", "symbol": "X-Y", "timeframe": "1m", "fill": "close", "execution": {}}
    with pytest.raises(BadInput, match="not below every price"):
        run(strategy, candles, BacktestRequest(**PLAIN, execution={"spread": 1e6}))
    with pytest.raises(BadInput, match="fill open"):
        BacktestRequest.read(values)
