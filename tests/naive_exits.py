"""An account with stops and sizes, candle by candle in plain Python: what the kernel of exits must equal."""

from dataclasses import dataclass, field
from math import inf, log, sqrt
from statistics import stdev
from typing import Any

import polars as pl

from pipelines.backtest.request import BacktestRequest

ALIKE = 1 - 1e-12


@dataclass
class Naive:
    """An account that plays both orders of a candle's high and low, one move after the other."""

    request: BacktestRequest
    cash: float = 0.0
    coins: float = 0.0
    spent: float = 0.0
    highest: float = 0.0
    age: int = 0
    order: str = ""
    wanted: float = 0.0
    reasons: list[str] = field(default_factory=list)

    def buy(self, market: float) -> None:
        price, fee = market * (1 + self.request.slippage), self.request.fee
        paid_with_coins = not self.request.pays_in_quote
        self.coins = (
            self.wanted / price * (1 - fee) if paid_with_coins else self.wanted / (price + price * fee)
        )
        self.cash, self.spent, self.highest, self.age = self.cash - self.wanted, self.wanted, market, 0

    def sell(self, market: float, reason: str) -> None:
        self.cash += self.coins * market * (1 - self.request.slippage) * (1 - self.request.fee)
        self.coins = 0.0
        self.reasons.append(reason)

    def stops(self, highest: float) -> tuple[float, str]:
        risk, average = self.request.risk, self.spent / self.coins
        assert risk is not None
        stop = average * (1 - float(risk.stop_loss)) if risk.stop_loss else -inf
        trail = highest * (1 - float(risk.trailing_stop)) if risk.trailing_stop else -inf
        return (trail, "trailing_stop") if trail * ALIKE > stop else (stop, "stop_loss")

    def path(self, points: list[float]) -> tuple[float, str, float]:
        """(price, reason, highest) of moving through these prices; the last price and no reason if nothing
        happens."""
        risk, highest = self.request.risk, self.highest
        assert risk is not None
        target = self.spent / self.coins * (1 + float(risk.take_profit)) if risk.take_profit else inf
        for n, price in enumerate(points):
            stop, reason = self.stops(highest)
            if price <= stop:
                return (price if n == 0 else stop), reason, highest
            if price >= target:
                return (price if n == 0 else target), "take_profit", highest
            highest = max(highest, price)
        return points[-1], "", highest

    def protect(self, candle: dict[str, Any]) -> None:
        o, h, low, c = (candle[name] for name in ("open", "high", "low", "close"))
        self.highest = max(self.highest, o)
        stop, reason = self.stops(self.highest)
        if low <= stop and self.path([o])[1] != "take_profit":  # what comes after the open is not known
            self.sell(min(o, stop), reason)
            return
        worse = min(self.path([o, low, h, c]), self.path([o, h, low, c]), key=lambda end: end[0])
        self.highest = worse[2]
        if worse[1]:
            self.sell(worse[0], worse[1])

    def decide(self, signal: dict[str, Any], part: float) -> None:
        risk = self.request.risk
        assert risk is not None
        if signal["sell"] and self.coins:
            self.order = "signal"
        elif signal["buy"] and not self.coins:
            amount = float(risk.size or 0) if risk.sizing == "fixed" else self.cash * part
            self.wanted = min(amount, self.cash * float(risk.max_position_fraction))
            self.order = "buy" if self.wanted > 0 else ""
        if self.coins and not self.order and risk.max_candles and self.age >= risk.max_candles:
            self.order = "time"

    def fill(self, market: float) -> None:
        if self.order == "buy":
            self.buy(market)
        elif self.order:
            self.sell(market, self.order)
        self.order = ""


def parts(candles: pl.DataFrame, risk: Any) -> list[float]:
    """Part of equity that a buy at each candle's close is worth."""
    size, closes = float(risk.size or 0), candles["close"].to_list()
    if risk.sizing == "percent":
        return [size] * len(closes)
    if risk.sizing == "risk":
        stops = [float(stop) for stop in (risk.stop_loss, risk.trailing_stop) if stop]
        return [size / min(stops)] * len(closes)
    if risk.sizing != "volatility":
        return [1.0] * len(closes)
    n, wanted = risk.volatility_candles, []
    for t in range(len(closes)):
        returned = [log(closes[k] / closes[k - 1]) for k in range(t - n + 1, t + 1)] if t >= n else []
        wanted.append(min(1.0, size / (stdev(returned) * sqrt(8_760))) if returned else 0.0)
    return wanted


def naive(candles: pl.DataFrame, signals: pl.DataFrame, request: BacktestRequest) -> Any:
    """Equity at each close and the reasons of all exits."""
    account, equity = Naive(request, cash=request.cash), []
    rows = zip(candles.iter_rows(named=True), signals.iter_rows(named=True), strict=True)
    for (candle, signal), part in zip(rows, parts(candles, request.risk), strict=True):
        if request.fill == "open":
            account.fill(candle["open"])
        account.age += 1
        if account.coins:
            account.protect(candle)
        account.decide(signal, part)
        if request.fill == "close":
            account.fill(candle["close"])
        equity.append(account.cash + account.coins * candle["close"])
    return equity, account.reasons
