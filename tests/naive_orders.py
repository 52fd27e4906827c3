"""A naive account in exact decimals: one order at most, one position at most, one bar after the other. The
kernel of orders must equal it."""

from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

import polars as pl

from pipelines.backtest.request import BacktestRequest

D = Decimal
ZERO = D(0)
NEVER, ALWAYS = D("-Infinity"), D("Infinity")
DAY = timedelta(days=1)
ALIKE = 1 - D("1e-12")
"""A stop this close to a trailing stop is the same price, and called a stop."""


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
        if first >= target and first > max(stop, trail):  # the open comes first
            self.leave(bar, first, "take_profit")
        elif bar.low <= max(stop, trail):
            self.leave(
                bar, min(first, max(stop, trail)), "stop_loss" if stop >= trail * ALIKE else "trailing_stop"
            )
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
