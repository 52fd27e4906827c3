"""Missing trades of one symbol, asked for by id until they are there or are known not to exist."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import structlog

from core.clock import Clock
from core.continuity import Continuity
from core.errors import BadInput, Unavailable
from core.trades import Trade
from live.collector.batch import GapRecord
from pipelines.exchanges.base import ExchangeRest
from pipelines.warehouse.gaps import GapActor, GapState

PATIENCE_S = 0.1
"""Trades that merely come out of order fill their gap within this time, unasked."""
CHUNK_IDS = 1_000
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
GIVE_UP_AFTER = 12
"""Answers without any of the missing ids, over about a minute and while the exchange shows later trades,
until they count as not existing."""
LAGGING_S = 1.0
"""Pause before a history that has not come as far as the feed is asked again."""
LASTING_S = 60.0
"""People are told of a hole that stays open that long, once."""
NOT_THERE = "the exchange does not have these ids"

_log = structlog.get_logger("refill")


class Refiller:
    """Works through the gaps of one symbol, the oldest first, and keeps the ledger.

    Parameters
    ----------
    take: hands in trades as if the feed had brought them
    ledger: stores a line of data_gaps
    on_event: told (level, event, message) of what people should know
    adopted: (first id, last id) of holes that an earlier process left open in the ledger
    retry_s: pauses after answers without any of the missing ids; the last one repeats
    lagging_s: pause where nothing would change at once
    lasting_s: people are told of a hole that stays open longer
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
        retry_s: Sequence[float] = RETRY_S,
        lagging_s: float = LAGGING_S,
        lasting_s: float = LASTING_S,
    ) -> None:
        self._symbol = symbol
        self._continuity = continuity
        self._rest = rest
        self._clock = clock
        self._take = take
        self._ledger = ledger
        self._on_event = on_event
        self._adopted = list(adopted)
        self._retry_s = retry_s
        self._lagging_s = lagging_s
        self._lasting_s = lasting_s
        self._started_with = continuity.last_id or 0
        self._wake = asyncio.Event()
        self.refilled = 0

    def wake(self) -> None:
        """There may be a gap."""
        self._wake.set()

    def newer(self, trades: Sequence[Trade]) -> None:
        """The exchange has trades that the feed did not bring, these among them."""
        self._take(trades)

    def refused(self) -> None:
        """Trades could not be taken: they show as a gap later."""

    def feed_is(self, state: str) -> None:
        """The feed's state changed: what it missed shows as a gap later."""

    async def run(self) -> None:
        """Refill, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(PATIENCE_S)
            while (hole := self._next()) is not None:
                await self._refill(*hole)

    def _next(self) -> tuple[int, int] | None:
        """A row of the ledger first, so that it is closed as the row it was opened as; then what is new."""
        last_id = self._continuity.last_id or 0
        for hole in self._adopted:
            if hole[1] < last_id:  # else its end is not known to be missing again yet
                self._adopted.remove(hole)
                return hole
        if not self._continuity.gaps:
            return None
        gap = self._continuity.gaps[0]
        return gap.first_id, gap.last_id

    async def _refill(self, first_id: int, last_id: int) -> None:
        self._record(first_id, last_id, "open", by="start" if first_id <= self._started_with else "feed")
        self._record(first_id, last_id, "refilling")
        told, due = False, time.monotonic() + self._lasting_s
        fruitless, lost = 0, 0
        while missing := self._continuity.missing_within(first_id, last_id):
            if not told and time.monotonic() >= due:
                told = True
                self._tell_lasting(first_id, last_id)
            low = max(first_id, missing[0].first_id)
            high = min(low + CHUNK_IDS - 1, last_id, missing[0].last_id)
            if await self._ask(low, high):
                fruitless = 0
                continue
            fruitless += 1
            if fruitless >= GIVE_UP_AFTER:
                self._continuity.give_up(low, high)
                lost += high - low + 1
                if (low, high) != (first_id, last_id):
                    self._record(low, high, "unfillable", NOT_THERE)
                fruitless = 0
            else:
                await asyncio.sleep(self._retry_s[min(fruitless, len(self._retry_s)) - 1])
        self._close(first_id, last_id, lost)

    def _close(self, first_id: int, last_id: int, lost: int) -> None:
        """A hole of which a part does not exist is no hole that was refilled."""
        size = last_id - first_id + 1
        if not lost:
            self._record(first_id, last_id, "refilled", f"{size} ids asked for by id and time")
            _log.info("gap refilled", symbol=self._symbol, first_id=first_id, last_id=last_id)
            return
        note = NOT_THERE if lost == size else f"the exchange does not have {lost} of these {size} ids"
        self._record(first_id, last_id, "unfillable", note)
        self._on_event(
            "warning", "gap_unfillable", f"{self._symbol}: {note}: {lost} within {first_id} to {last_id}"
        )

    async def _ask(self, first_id: int, last_id: int) -> bool:
        """Whether the exchange had any of these ids, or said nothing about them: it did not answer, or its
        history does not reach as far as the feed does."""
        try:
            trades = await self._rest.trades_by_id(self._symbol, first_id, last_id)
            if not trades and not await self._reaches(last_id):
                await asyncio.sleep(self._lagging_s)
                return True
        except (Unavailable, BadInput) as error:  # bad: no longer listed, which ends no other symbol
            _log.warning("refill failed", symbol=self._symbol, reason=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._filled(first_id, last_id)
            return True
        before = self._continuity.missing_within(first_id, last_id)
        self._take(trades)
        self.refilled += len(trades)
        if trades and self._continuity.missing_within(first_id, last_id) == before:
            # Memory is full while the database is away: asking again at once would change nothing.
            await asyncio.sleep(self._lagging_s)
        return bool(trades)

    async def _reaches(self, last_id: int) -> bool:
        """Whether the exchange's REST shows a later trade: else it lags, and says nothing about these ids."""
        newest = await self._rest.recent_trades(self._symbol, 1)
        return bool(newest) and newest[-1].trade_id > last_id

    async def _filled(self, first_id: int, last_id: int) -> None:
        while self._continuity.missing_within(first_id, last_id):
            await asyncio.sleep(PATIENCE_S)

    def _tell_lasting(self, first_id: int, last_id: int) -> None:
        self._on_event(
            "warning",
            "gap_open",
            f"{self._symbol}: trades {first_id} to {last_id} have been missing for {self._lasting_s:.0f} s",
        )

    def _record(
        self, first_id: int, last_id: int, state: GapState, note: str | None = None, by: GapActor = "refill"
    ) -> None:
        self._ledger(GapRecord(self._symbol, first_id, last_id, state, self._clock.now_ms(), note, by))
