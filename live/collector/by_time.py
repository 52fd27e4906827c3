"""Exchanges whose trade ids show no holes: where a stream begins, and what fills it after an interruption.

Nothing proves such a stream complete. Every interruption that is known of is followed by asking for all
trades since the last one before it; what nobody noticed shows in the comparison with the exchange's candles.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy import Engine

from core.clock import Clock
from core.continuity import Continuity
from core.errors import BadInput, Unavailable
from core.sightings import Sightings
from core.timeframes import Timeframe
from core.trades import Trade
from live.collector.batch import GapRecord
from live.collector.start import Opened
from live.collector.stream import SymbolStream
from pipelines.exchanges.base import ExchangeRest, TooOld
from pipelines.warehouse.resume import ResumePoint, resume_point, trades_since

LONGEST_REFILL_MS = 3_600_000
"""What was missed longer ago is closed by the exchange's candles."""
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
LAGGING_S = 1.0
"""Pause before a history that has not come as far as the feed is asked again."""
MOST_TRIES = 12

_log = structlog.get_logger("refill")


async def open_stream_by_time(
    symbol: str, timeframes: Sequence[Timeframe], rest: ExchangeRest, engine: Engine
) -> Opened:
    """Where the symbol goes on: as `live.collector.start.open_stream`, by time. The stream counts as
    interrupted until the feed is live and was caught up with."""
    point = await asyncio.to_thread(_point, engine, symbol)
    now_ms = await rest.server_time_ms()
    opened = None
    if point is not None:
        # From the first minute that is not final: an interruption may not have been refilled in it.
        since_ms = min(point.start_ms, point.last.timestamp_ms)
        if now_ms - since_ms <= LONGEST_REFILL_MS:
            opened = await _resumed(symbol, timeframes, rest, engine, point, since_ms, now_ms)
    if opened is None:
        opened = await _fresh(symbol, timeframes, rest, point, now_ms)
    assert isinstance(opened.stream.continuity, Sightings)
    opened.stream.continuity.interrupt()
    return opened


async def _resumed(
    symbol: str,
    timeframes: Sequence[Timeframe],
    rest: ExchangeRest,
    engine: Engine,
    point: ResumePoint,
    since_ms: int,
    now_ms: int,
) -> Opened | None:
    """None when the exchange does not go back that far."""
    try:
        missed = await _between(rest, symbol, since_ms, now_ms + 1)
    except TooOld:
        return None
    anchor = point.anchor
    known = Sightings() if anchor is None else Sightings(anchor.trade_id, anchor.timestamp_ms)
    stream = SymbolStream(symbol, timeframes, point.start_ms, known)
    stream.take(await asyncio.to_thread(_stored, engine, symbol, point.start_ms))
    new = stream.take(missed)
    _log.info("resumed", symbol=symbol, since_ms=since_ms, new=len(new))
    return Opened(stream, new, [], [])


async def _fresh(
    symbol: str, timeframes: Sequence[Timeframe], rest: ExchangeRest, point: ResumePoint | None, now_ms: int
) -> Opened:
    """Begin with the present minute, or with the next one if the exchange does not give all of this one."""
    start_ms = Timeframe.M1.open_ms(now_ms)
    try:
        recent = await _between(rest, symbol, start_ms, now_ms + 1)
    except TooOld:
        start_ms, recent = Timeframe.M1.close_ms(now_ms), []
    before = [trade for trade in await rest.recent_trades(symbol) if trade.timestamp_ms < start_ms]
    known = Sightings(before[-1].trade_id, before[-1].timestamp_ms) if before else Sightings(None, start_ms)
    stream = SymbolStream(symbol, timeframes, start_ms, known)
    new = stream.take(recent)
    holes = []
    known_id = new[0].trade_id if new else known.last_id
    if point is not None and known_id is not None and known_id > point.last.trade_id + 1:
        holes = [(point.last.trade_id + 1, known_id - 1)]
    _log.info("started", symbol=symbol, start_ms=start_ms, trades=len(new))
    return Opened(stream, new, holes, [])


class TimeRefiller:
    """Asks for what an interruption of the feed may have left out; used like `refill.Refiller`.

    `continuity` is a `Sightings`. Nothing is asked for before the feed is live again: what happened until
    then might be left out as well. The exchange's answer counts when it reaches the first trade that came
    after the interruption.
    """

    def __init__(
        self,
        symbol: str,
        continuity: Continuity,
        rest: ExchangeRest,
        clock: Clock,
        take: Callable[[Sequence[Trade]], None],
        ledger: Callable[[GapRecord], None],
        on_event: Callable[[str, str, str], None],
        adopted: Sequence[tuple[int, int]] = (),
    ) -> None:
        assert isinstance(continuity, Sightings)
        self._symbol = symbol
        self._seen = continuity
        self._rest = rest
        self._take = take
        self._on_event = on_event
        self._wake = asyncio.Event()
        self._is_live = False
        self._is_stale = False
        self.refilled = 0

    def wake(self) -> None:
        """There may be something to ask for."""
        self._wake.set()

    def newer(self, trades: Sequence[Trade]) -> None:
        """The exchange has trades that the feed did not bring, these among them."""
        self.refused()

    def refused(self) -> None:
        """Trades could not be taken."""
        self._interrupt()
        self.wake()

    def feed_is(self, state: str) -> None:
        """The feed's state changed (see `TradeFeed`)."""
        if state in ("connecting", "reconnecting", "silent"):
            self._is_live = False
            self._interrupt()
        elif state in ("live", "degraded"):
            self._is_live = True
            if state == "degraded":
                self._interrupt()
            self.wake()

    def _interrupt(self) -> None:
        self._is_stale = True
        self._seen.interrupt()

    async def run(self) -> None:
        """Refill, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._refill()

    async def _refill(self) -> None:
        tries = 0
        while self._seen.gaps and self._is_live:
            since_ms = self._seen.gaps[0].after_ms
            tries += 1
            self._is_stale = False
            try:
                now_ms = await self._rest.server_time_ms()
                found = await _between(self._rest, self._symbol, since_ms, now_ms + 1)
            except (Unavailable, BadInput) as error:
                _log.warning("refill failed", symbol=self._symbol, reason=str(error))
                if isinstance(error, TooOld) or tries >= MOST_TRIES:
                    self._give_up(str(error))
                else:
                    await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S)) - 1])
                continue
            if self._seen.contradicts(found):
                self._give_up("the exchange tells its trades by other ids on request than on the WebSocket")
                continue
            fence_ms = self._seen.first_after_ms
            lags = fence_ms is not None and _newest_ms(found) < fence_ms
            await self._hand_on(found, lags and tries < MOST_TRIES)

    async def _hand_on(self, found: list[Trade], lags: bool) -> None:
        before = self._seen.duplicates
        self._take(found)
        self.refilled += len(found) - (self._seen.duplicates - before)
        if self._is_stale:
            # It was interrupted again after what was found had been asked for.
            await asyncio.sleep(LAGGING_S)
        elif lags:
            if found:
                self._seen.resume(through=found[-1])
            await asyncio.sleep(LAGGING_S)
        else:
            self._seen.resume()

    def _give_up(self, reason: str) -> None:
        self._seen.resume()
        self._on_event(
            "warning",
            "trades_may_be_missing",
            f"{self._symbol}: not refilled after an interruption ({reason})",
        )


async def _between(rest: ExchangeRest, symbol: str, start_ms: int, end_ms: int) -> list[Trade]:
    """Trades with start_ms <= timestamp < end_ms, oldest first."""
    pages = [page async for page in rest.trade_pages(symbol, start_ms, end_ms)]
    return [trade for page in reversed(pages) for trade in page]


def _newest_ms(trades: Sequence[Trade]) -> int:
    return trades[-1].timestamp_ms if trades else 0


def _point(engine: Engine, symbol: str) -> ResumePoint | None:
    with engine.connect() as connection:
        return resume_point(connection, symbol)


def _stored(engine: Engine, symbol: str, since_ms: int) -> list[Trade]:
    with engine.connect() as connection:
        return trades_since(connection, symbol, since_ms)
