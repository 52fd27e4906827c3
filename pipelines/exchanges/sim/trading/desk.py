"""All accounts of the simulated exchange, kept level with the virtual clock."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from pipelines.exchanges.sim import book
from pipelines.exchanges.sim.book import Book
from pipelines.exchanges.sim.days import DAY_MS
from pipelines.exchanges.sim.exchange import Exchange
from pipelines.exchanges.sim.history import History
from pipelines.exchanges.sim.specs import SymbolSpec
from pipelines.exchanges.sim.trading.account import Account, Fees
from pipelines.exchanges.sim.trading.orders import Rejected
from pipelines.exchanges.sim.trading.trader import Trader

_DEPTH = 400
_DOLLARS = ("USDT", "USDC", "USD")


class HistoryMarket:
    """The market that orders meet: the books and trades of a history."""

    def __init__(self, history: History) -> None:
        self._history = history

    def book(self, symbol: str, now_ms: int) -> Book:
        """The order book as of an instant."""
        return book.snapshot(self._history, self._history.specs[symbol], now_ms, _DEPTH)

    def last(self, symbol: str, now_ms: int) -> int:
        """Price of the newest trade, in ticks; 0 before the first one."""
        newest = self._history.newest_trades(symbol, now_ms, 1)
        return int(newest.price[-1]) if len(newest) else 0


class Desk:
    """The traders by API key. `advance` must come before whatever is done to one of them.

    shown_ms: virtual time up to which they have met the market; issued: the newest id
    keep: saves what happened, before anybody hears of it
    """

    def __init__(
        self, exchange: Exchange, keys: tuple[str, ...], balances: Mapping[str, Decimal], fees: Fees
    ) -> None:
        self.market = HistoryMarket(exchange.history)
        self.codes = dict(enumerate(exchange.history.specs.values(), start=1))
        self.specs = exchange.history.specs
        self._history = exchange.history
        self._clock = exchange.clock
        self.shown_ms = exchange.clock.now_ms()
        self.issued = 0
        self.keep: Callable[[], None] = lambda: None
        self.traders = {
            key: Trader(Account(str(place), balances, fees, self.market, self.new_id))
            for place, key in enumerate(keys, start=1)
        }

    def resume(self, shown_ms: int, issued: int) -> None:
        """Go on where another process stopped: every trade since then is still to be met."""
        self.shown_ms, self.issued = shown_ms, max(self.issued, issued)

    def new_id(self, at_ms: int) -> str:
        """A fresh id; later ones are higher, over restarts too, because the clock never goes back."""
        self.issued = max(self.issued + 1, at_ms << 18)
        return str(self.issued)

    def advance(self) -> int:
        """Let every waiting order meet the trades up to now; returns now, ms."""
        before, now = self.shown_ms, max(self._clock.now_ms(), self.shown_ms)
        self.shown_ms = now
        if now == before:
            return now
        for trader in self.traders.values():
            for symbol in sorted(trader.waits()):
                for day in range(before // DAY_MS, now // DAY_MS + 1):
                    trades = self._history.day(symbol, day)
                    trader.walk(symbol, trades.part(trades.until(before), trades.until(now)))
        return now

    def spec(self, inst_id: object) -> SymbolSpec:
        """The pair of that id; Rejected when there is none."""
        spec = self.specs.get(str(inst_id or ""))
        if spec is None:
            raise Rejected("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        return spec

    def currencies(self) -> list[str]:
        """Everything that can be bought or paid with."""
        names = {spec.base for spec in self.specs.values()} | {spec.quote for spec in self.specs.values()}
        return sorted(names)

    def dollar_prices(self, currencies: set[str], now_ms: int) -> dict[str, Decimal]:
        """What one unit of each currency is worth; without those nobody trades against a dollar."""
        prices = {name: Decimal(1) for name in _DOLLARS}
        for spec in self.specs.values():
            if spec.quote in _DOLLARS and spec.base in currencies:
                last = self.market.last(spec.symbol, now_ms)
                prices[spec.base] = Decimal(last).scaleb(-spec.tick_decimals)
        return prices
