"""The port to an account at an exchange: orders, fills, balances."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Protocol

import msgspec

from core.exchange_orders import ExchangeFill, ExchangeOrder, Report


class Taken(msgspec.Struct, frozen=True):
    """The exchange has the order, under that number of its own."""

    exchange_id: str


class Declined(msgspec.Struct, frozen=True):
    """The exchange does not want the order, and said so."""

    reason: str


class Busy(msgspec.Struct, frozen=True):
    """The exchange did not look at the request: too many of them, or a stamp that is off. Send it again."""

    reason: str


class Unclear(msgspec.Struct, frozen=True):
    """Nobody knows whether the exchange has the order: no answer, half an answer, or an error of its own."""

    reason: str


Answer = Taken | Declined | Busy | Unclear


class RatedClock(Protocol):
    """A clock that may run at another rate than this machine's."""

    @property
    def rate(self) -> float:
        """Its milliseconds in a real one."""
        ...

    def now_ms(self) -> int:
        """Its time, ms since the epoch."""
        ...


class TradingAccount(Protocol):
    """One account. Reading raises Unavailable when the exchange gives no answer that is of use, BadInput when
    it refuses who asks; sending answers in values, because not knowing is a result.
    """

    @property
    def clock(self) -> RatedClock:
        """The exchange's, as far as `server_time_ms` has heard of it."""
        ...

    async def server_time_ms(self) -> int:
        """The exchange's clock."""
        ...

    async def permissions(self) -> frozenset[str]:
        """What the key may do, in the exchange's words: read_only, trade, withdraw."""
        ...

    async def room(self, order: ExchangeOrder) -> None:
        """Wait until the exchange's limits let one more order through."""
        ...

    async def place(self, order: ExchangeOrder, deadline_ms: int) -> Answer:
        """Send an order that the exchange is to refuse from `deadline_ms` (exchange time) on."""
        ...

    async def cancel(self, order: ExchangeOrder) -> None:
        """Withdraw an order. Whether it worked, `find` says; an order that is over is no error."""
        ...

    async def find(self, order: ExchangeOrder) -> Report | None:
        """What the exchange knows of an order, by its number or by our id; None: nothing, or of a stop that
        fired: nothing of the order that it placed, whose number (`child_id`) was known before."""
        ...

    async def trace(self, order: ExchangeOrder) -> Report | None:
        """What the exchange's lists, of what waits and of what is over, say of an order that `find` does not
        know, although the exchange once took it; None: it is in none of them."""
        ...

    async def fills(self, symbol: str, order_id: str, filled: Decimal | None = None) -> list[ExchangeFill]:
        """All matches of an order, by the exchange's number, oldest first. filled: what they add up to, as
        far as that is known; with it older lists are read only where the newest does not have them all."""
        ...

    async def open_orders(self) -> list[Report]:
        """Every order that waits, algo orders included, ours or not."""
        ...

    async def balances(self) -> Mapping[str, Decimal | None]:
        """What the account holds by currency, what open orders keep included; None: the exchange said
        something that is no number. A currency that it does not hold is left out."""
        ...

    async def watch(self, on_change: Callable[[str], None]) -> None:
        """Call with our id of every order that something happened to, and with "" when something may have
        been missed; for ever."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
