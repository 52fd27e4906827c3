"""Missing trades of one symbol, asked for by id until they are there or are known not to exist."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import structlog

from core.clock import Clock
from core.continuity import Continuity
from core.errors import Unavailable
from core.trades import Trade
from live.collector.batch import GapRecord
from pipelines.exchanges.base import ExchangeRest
from pipelines.warehouse.gaps import GapState

PATIENCE_S = 0.1
"""Trades that merely come out of order fill their gap within this time, unasked."""
CHUNK_IDS = 1_000
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
GIVE_UP_AFTER = 12
"""Answers without any of the missing ids, over about a minute, until they count as not existing."""

_log = structlog.get_logger("refill")


class Refiller:
    """Works through the gaps of one symbol, the oldest first, and keeps the ledger.

    Parameters
    ----------
    take: hands in trades as if the feed had brought them
    ledger: stores a line of data_gaps
    on_event: told (level, event, message) of what people should know
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
    ) -> None:
        self._symbol = symbol
        self._continuity = continuity
        self._rest = rest
        self._clock = clock
        self._take = take
        self._ledger = ledger
        self._on_event = on_event
        self._wake = asyncio.Event()
        self.refilled = 0

    def wake(self) -> None:
        """There may be a gap."""
        self._wake.set()

    async def run(self) -> None:
        """Refill, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(PATIENCE_S)
            while self._continuity.gaps:
                gap = self._continuity.gaps[0]
                await self._refill(gap.first_id, gap.last_id)

    async def _refill(self, first_id: int, last_id: int) -> None:
        self._record(first_id, last_id, "open")
        fruitless = 0
        while missing := self._continuity.missing_within(first_id, last_id):
            low = max(first_id, missing[0].first_id)
            high = min(low + CHUNK_IDS - 1, last_id, missing[0].last_id)
            if await self._ask(low, high):
                fruitless = 0
                continue
            fruitless += 1
            if fruitless >= GIVE_UP_AFTER:
                self._give_up(low, high)
                fruitless = 0
            else:
                await asyncio.sleep(RETRY_S[min(fruitless, len(RETRY_S)) - 1])
        self._record(first_id, last_id, "filled")
        _log.info("gap refilled", symbol=self._symbol, first_id=first_id, last_id=last_id)

    async def _ask(self, first_id: int, last_id: int) -> bool:
        """Whether the exchange had any of these ids, or did not answer (which says nothing about them)."""
        try:
            trades = await self._rest.trades_by_id(self._symbol, first_id, last_id)
        except Unavailable as error:
            _log.warning("refill failed", symbol=self._symbol, reason=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._filled(first_id, last_id)
            return True
        self._take(trades)
        self.refilled += len(trades)
        return bool(trades)

    async def _filled(self, first_id: int, last_id: int) -> None:
        while self._continuity.missing_within(first_id, last_id):
            await asyncio.sleep(PATIENCE_S)

    def _give_up(self, first_id: int, last_id: int) -> None:
        self._continuity.give_up(first_id, last_id)
        self._record(first_id, last_id, "unfillable", "the exchange does not have these ids")
        self._on_event(
            "warning", "gap_unfillable", f"{self._symbol}: the exchange has no trades {first_id} to {last_id}"
        )

    def _record(self, first_id: int, last_id: int, state: GapState, note: str | None = None) -> None:
        self._ledger(GapRecord(self._symbol, first_id, last_id, state, self._clock.now_ms(), note))
