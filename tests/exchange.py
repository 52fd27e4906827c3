"""An exchange in memory for the collector's tests: a tape of trades, a fast clock, a feed that misbehaves."""

import asyncio
import time
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from decimal import Decimal
from itertools import groupby

import msgspec

from core.candles import Candle
from core.errors import BadInput, Unavailable
from core.instruments import Instrument
from core.timeframes import Timeframe
from core.trades import Trade
from tests.aggregation import candles_of, trades_frame

Fault = Callable[[list[Trade]], Iterable[Trade]]
"""What of published trades reaches the reader, and in which order."""


class FakeExchange:
    """`ExchangeRest` and `TradeFeed` over a tape of single matches, ids without holes, at a virtual clock.

    Parameters
    ----------
    tape: all trades there will ever be, any symbols, each symbol's in order of id
    start_ms: virtual time at the first use; the feed begins there
    speed: virtual seconds a real second
    fault: applied to each frame of the feed
    """

    consecutive_ids = True

    def __init__(
        self, tape: Sequence[Trade], start_ms: int, speed: float, fault: Fault = lambda trades: trades
    ) -> None:
        self.tape = sorted(tape, key=lambda trade: trade.timestamp_ms)
        self.fault = fault
        self.rest_is_away = self.history_is_away = False
        self.unlisted: set[str] = set()
        self.refusals = 0
        self.asked_ids: list[tuple[int, int]] = []
        self.other_volumes: dict[tuple[str, Timeframe, int], Decimal] = {}
        self._start_ms = start_ms
        self._speed = speed
        self._started: float | None = None
        self._end_ms: int | None = None

    def now_ms(self) -> int:
        """Virtual time."""
        if self._started is None:
            self._started = time.monotonic()
        return self._start_ms + int((time.monotonic() - self._started) * 1000 * self._speed)

    async def run(
        self,
        symbols: Sequence[str],
        on_trades: Callable[[list[Trade]], None],
        on_state: Callable[[str, str], None],
    ) -> None:
        """The feed: what happens from now on, in frames of aggregates."""
        on_state("live", "")
        served = set(symbols) - self.unlisted
        tape = [trade for trade in self.tape if trade.symbol in served]
        times = [trade.timestamp_ms for trade in tape]
        sent = bisect_right(times, self.now_ms())
        while True:
            until = bisect_right(times, self.now_ms())
            frame = list(self.fault(aggregated(tape[sent:until])))
            sent = until
            if frame:
                on_trades(frame)
            await asyncio.sleep(0.005)

    async def server_time_ms(self) -> int:
        """Virtual time."""
        await self._answer()
        return self.now_ms()

    async def recent_trades(self, symbol: str, limit: int = 500) -> list[Trade]:
        """The newest matches."""
        await self._answer(symbol)
        return self._until_now(symbol)[-limit:]

    async def trades_by_id(self, symbol: str, first_id: int, last_id: int) -> list[Trade]:
        """Matches by id."""
        await self._answer(symbol)
        self.asked_ids.append((first_id, last_id))
        return [trade for trade in self._until_now(symbol) if first_id <= trade.trade_id <= last_id]

    async def trade_pages(
        self, symbol: str, start_ms: int, end_ms: int, before_id: int | None = None
    ) -> AsyncGenerator[list[Trade], None]:
        """Matches of a time, a hundred a page, the newest page first."""
        await self._answer(symbol)
        if self.history_is_away:
            raise Unavailable("told to have no history")
        found = [trade for trade in self._until_now(symbol) if start_ms <= trade.timestamp_ms < end_ms]
        for end in range(len(found), 0, -100):
            yield found[max(0, end - 100) : end]

    async def candles(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> list[Candle]:
        """Confirmed candles of the tape."""
        await self._answer(symbol)
        tape = [trade for trade in self.tape if trade.symbol == symbol]
        through = timeframe.open_ms(min(end_ms, self.now_ms()))
        made = [
            Candle(symbol, timeframe, *row[:6], source="exchange")
            for row in candles_of(trades_frame(tape), timeframe, through)
            if start_ms < row[0] <= through
        ]
        others = self.other_volumes
        return [
            msgspec.structs.replace(c, volume=others.get((symbol, timeframe, c.close_ms), c.volume))
            for c in made
        ]

    async def instruments(self) -> list[Instrument]:
        """None."""
        return []

    async def close(self) -> None:
        """Nothing to close."""

    async def _answer(self, symbol: str = "") -> None:
        await asyncio.sleep(0)
        if self.rest_is_away:
            raise Unavailable("told to be away")
        if symbol in self.unlisted:
            self.refusals += 1
            raise BadInput("symbol", f"{symbol!r} is not listed by the exchange")

    def _until_now(self, symbol: str) -> list[Trade]:
        now = self.now_ms()
        return [
            msgspec.structs.replace(trade, source="rest")
            for trade in self.tape
            if trade.symbol == symbol and trade.timestamp_ms <= now
        ]


def aggregated(trades: Iterable[Trade]) -> list[Trade]:
    """Matches of one instant, price and side as the feed publishes them: one trade with a count."""
    published = []
    for _, group in groupby(trades, key=lambda t: (t.symbol, t.timestamp_ms, t.price, t.side)):
        matches = list(group)
        size = sum((t.size for t in matches[1:]), matches[0].size)
        published.append(msgspec.structs.replace(matches[-1], size=size, count=len(matches)))
    return published
