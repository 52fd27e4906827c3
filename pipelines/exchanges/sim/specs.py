"""The instruments of the simulated exchange, and the only place where its integers become text.

Inside, a price is a number of ticks and a size a number of lots, both powers of ten, so that sums are exact
and a candle is exactly that of its trades.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SymbolSpec:
    """A spot pair of the simulated exchange.

    tick_decimals, lot_decimals: digits after the point of the price and size steps
    min_lots: smallest order, in lots
    price: level the market model hovers around, in quote currency
    volatility: a year's standard deviation of log prices
    matches_a_day: mean of single matches a UTC day
    mean_size: typical size of a match, in base currency
    spread_ticks: usual distance of best bid and ask
    quiet: share of minutes in which nothing trades whatever the activity
    """

    symbol: str
    tick_decimals: int
    lot_decimals: int
    min_lots: int
    price: float = 1.0
    volatility: float = 0.6
    matches_a_day: int = 10_000
    mean_size: float = 1.0
    spread_ticks: int = 1
    quiet: float = 0.0

    @property
    def base(self) -> str:
        """Currency that is bought and sold."""
        return self.symbol.split("-")[0]

    @property
    def quote(self) -> str:
        """Currency that it is priced in."""
        return self.symbol.split("-")[1]

    def price_text(self, ticks: int) -> str:
        """A price as the exchange writes it."""
        return decimal_text(ticks, self.tick_decimals)

    def size_text(self, lots: int) -> str:
        """A size as the exchange writes it."""
        return decimal_text(lots, self.lot_decimals)

    def value_text(self, ticks_times_lots: int) -> str:
        """A sum of price × size, in quote currency, as the exchange writes it."""
        return decimal_text(ticks_times_lots, self.tick_decimals + self.lot_decimals)


def decimal_text(units: int, decimals: int) -> str:
    """`units` × 10^−decimals, exact, without trailing zeros: (1205, 2) → "12.05"."""
    if decimals == 0:
        return str(units)
    digits = str(units).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}".rstrip("0").rstrip(".")


def _spec(symbol: str, *numbers: float) -> SymbolSpec:
    tick, lot, least, price, volatility, matches, size, spread, quiet = numbers
    return SymbolSpec(
        symbol, int(tick), int(lot), int(least), price, volatility, int(matches), size, int(spread), quiet
    )


# Ticks, lots and smallest orders as OKX lists them; activity falls by a factor of 70 from first to last, so
# that clients meet busy markets and ones with empty minutes.
MODEL_SPECS: tuple[SymbolSpec, ...] = (
    _spec("BTC-USDT", 1, 8, 1_000, 60_000, 0.55, 60_000, 0.02, 1, 0.0),
    _spec("ETH-USDT", 2, 6, 100, 3_000, 0.70, 45_000, 0.35, 1, 0.0),
    _spec("SOL-USDT", 2, 6, 10_000, 150, 0.80, 30_000, 5, 1, 0.0),
    _spec("XRP-USDT", 4, 6, 1_000_000, 0.6, 0.75, 15_000, 300, 1, 0.0),
    _spec("DOGE-USDT", 5, 6, 10_000_000, 0.15, 0.85, 12_000, 900, 1, 0.01),
    _spec("ADA-USDT", 4, 6, 1_000_000, 0.5, 0.75, 5_000, 350, 1, 0.05),
    _spec("LTC-USDT", 2, 6, 10_000, 80, 0.65, 2_500, 2, 2, 0.15),
    _spec("ETC-USDT", 3, 6, 10_000, 25, 0.75, 900, 6, 4, 0.30),
)
