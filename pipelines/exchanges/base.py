"""The exchange port: what the collector and the backfills need from any exchange."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

from core.candles import Candle
from core.errors import Unavailable
from core.instruments import Instrument
from core.timeframes import Timeframe
from core.trades import Trade


class TooOld(Unavailable):
    """The exchange does not give trades from that long ago."""


class ExchangeRest(Protocol):
    """Market data by request. Rate limits are kept inside; a failed call raises `core.errors.Unavailable`.

    consecutive_ids: the ids of a symbol's trades are integers without holes, so that a hole in them is a lost
        trade. Otherwise an id only tells one trade from another; ids then grow with the time of the trades.
    """

    consecutive_ids: bool

    async def instruments(self) -> list[Instrument]:
        """All spot instruments."""
        ...

    async def server_time_ms(self) -> int:
        """The exchange's clock, ms since the epoch."""
        ...

    async def candles(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> list[Candle]:
        """Confirmed candles whose close time is in (start_ms, end_ms], oldest first; pages as needed."""
        ...

    async def recent_trades(self, symbol: str, limit: int = 500) -> list[Trade]:
        """The newest trades (at most 500), oldest first."""
        ...

    async def trades_by_id(self, symbol: str, first_id: int, last_id: int) -> list[Trade]:
        """Single matches with first_id <= trade_id <= last_id, oldest first; pages as needed."""
        ...

    def trade_pages(
        self, symbol: str, start_ms: int, end_ms: int, before_id: int | None = None
    ) -> AsyncGenerator[list[Trade], None]:
        """Trades with start_ms <= timestamp < end_ms in pages, the newest page first; oldest first inside.
        With `before_id` only those of smaller id."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class TradeFeed(Protocol):
    """Live trades. `run` connects, subscribes, reconnects with back-off, and never returns by itself."""

    async def run(
        self,
        symbols: Sequence[str],
        on_trades: Callable[[list[Trade]], None],
        on_state: Callable[[str, str], None],
    ) -> None:
        """Call `on_trades` with each decoded frame's trades and `on_state(state, detail)` on every change of
        connection state: connecting, live, silent, refused (a symbol not served), reconnecting; moving: to a
        new connection while the trades flow over the old one; degraded: one of several connections has
        trouble, and the trades flow over another.

        Both are called in the event loop and must not block. The last trade before a subscription is handed
        on first, possibly hours old; a trade may come twice: de-duplicate by id. An exception of `on_trades`
        ends `run` with it."""
        ...
