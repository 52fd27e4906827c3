"""What an exchange lists, and its rules for prices and sizes."""

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

import msgspec


class Instrument(msgspec.Struct, frozen=True):
    """A spot pair. tick_size: price step; lot_size: size step; min_size: smallest order, in base currency."""

    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    min_size: Decimal
    state: str = "live"

    def round_price(self, price: Decimal) -> Decimal:
        """Nearest multiple of the tick (half to even)."""
        return (price / self.tick_size).quantize(Decimal(1), ROUND_HALF_EVEN) * self.tick_size

    def price_below(self, price: Decimal) -> Decimal:
        """Largest multiple of the tick that is not above `price`."""
        return (price / self.tick_size).quantize(Decimal(1), ROUND_FLOOR) * self.tick_size

    def price_above(self, price: Decimal) -> Decimal:
        """Smallest multiple of the tick that is not below `price`."""
        return (price / self.tick_size).quantize(Decimal(1), ROUND_CEILING) * self.tick_size

    def floor_size(self, size: Decimal) -> Decimal:
        """Largest multiple of the lot that is not above `size`."""
        return (size / self.lot_size).quantize(Decimal(1), ROUND_DOWN) * self.lot_size
