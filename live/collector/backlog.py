"""What waits to be written: in memory, and beyond a bound on disk; first in, first out."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from core.candles import Candle
from core.trades import Trade
from live.collector.batch import BATCH_TRADES, Batch, Chunk, GapRecord, Position
from live.collector.spool import Recovered, Spool

T = TypeVar("T")

TICK_S = 0.25
"""While batches go to disk, they go this often."""
FULL_RETRY_S = 5.0


class Bounds(msgspec.Struct, frozen=True):
    """What is kept in memory, and when people are told.

    capacity_trades: beyond these no more are taken in (about 300 MB)
    spill_trades, spill_s: beyond either, memory goes to disk
    hung_s: a transaction that takes longer counts as an outage: a server may accept and never answer
    lasting_s: an outage of that length is told once more
    """

    capacity_trades: int = 1_000_000
    spill_trades: int = 200_000
    spill_s: float = 300.0
    hung_s: float = 10.0
    lasting_s: float = 60.0


class Backlog:
    """A queue in memory behind a spool on disk: the spool, when there is anything in it, is always older.

    Parameters
    ----------
    spool: None keeps everything in memory
    on_event: told (level, event, message) when batches begin to go to disk, and when the disk takes no more
    """

    def __init__(
        self, spool: Spool | None, bounds: Bounds, on_event: Callable[[str, str, str], None]
    ) -> None:
        self._spool = spool
        self._bounds = bounds
        self._on_event = on_event
        self._queue: deque[Batch] = deque()
        self._flying: Chunk | None = None
        self._flying_since = 0.0
        self._order = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "spool")
        self._full_until = 0.0
        self.disk_is_full = False
        self.memory_trades = 0

    @property
    def spooled_trades(self) -> int:
        """Trades that wait on disk."""
        return 0 if self._spool is None else self._spool.trades

    @property
    def spooled_bytes(self) -> int:
        """Size of what waits on disk."""
        return 0 if self._spool is None else self._spool.bytes

    @property
    def is_spooled(self) -> bool:
        """Whether anything waits on disk."""
        return self._spool is not None and self._spool.waiting

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits, the chunk being written apart."""
        return not self._queue and not self.is_spooled

    @property
    def is_behind(self) -> bool:
        """Whether more than one transaction waits."""
        return len(self._queue) > 1 or self.is_spooled

    @property
    def waited_s(self) -> float:
        """How long the oldest chunk is being written for."""
        return 0.0 if self._flying is None else time.monotonic() - self._flying_since

    def put(self, trades: Sequence[Trade], candles: Sequence[Candle], gaps: Sequence[GapRecord]) -> None:
        """Append, in memory."""
        if not self._queue or len(self._queue[-1].trades) >= BATCH_TRADES:
            self._queue.append(Batch())
        last = self._queue[-1]
        last.trades += trades
        last.candles += candles
        last.gaps += gaps
        self.memory_trades += len(trades)

    async def recover(self, drained: Position | None) -> Recovered | None:
        """Take over what an earlier process left on disk."""
        spool = self._spool
        return None if spool is None else await self._on_disk(lambda: spool.recover(drained))

    async def take(self) -> Chunk | None:
        """The oldest chunk; None when nothing waits. It stays the backlog's until `done`."""
        async with self._order:
            spool = self._spool
            chunk = None
            if spool is not None and spool.waiting:
                chunk = await self._on_disk(lambda: spool.read(BATCH_TRADES))
            if chunk is None and self._queue:
                chunk = Chunk(self._queue.popleft())
            self._flying, self._flying_since = chunk, time.monotonic()
            return chunk

    async def done(self, chunk: Chunk) -> None:
        """It is written."""
        spool = self._spool
        self._flying = None
        if chunk.drained is None:
            self.memory_trades -= len(chunk.batch.trades)
        elif spool is not None:
            await self._on_disk(lambda: spool.drop(chunk))

    async def keep_bounds(self, away: Callable[[], bool]) -> None:
        """Move what is too much or too old to disk, for ever. away: whether Postgres does not answer."""
        while True:
            await asyncio.sleep(TICK_S)
            # The chunk being written counts until it is on disk as well.
            something = self._queue or (self._flying is not None and not self.is_spooled)
            if something and time.monotonic() >= self._full_until and self._is_due(away()):
                await self.spill()

    def _is_due(self, away: bool) -> bool:
        if self._spool is None:
            return False
        late = self.memory_trades > self._bounds.spill_trades or self.waited_s > self._bounds.spill_s
        # Behind a spool that is being drained the newest may stay in memory; not while it only grows.
        return late or (away and self.is_spooled)

    async def spill(self) -> bool:
        """Move all that waits in memory to disk. False when the disk does not take it."""
        spool = self._spool
        if spool is None:
            return False
        async with self._order:
            first = not spool.waiting
            queued = list(self._queue)
            self._queue.clear()
            # The chunk being written goes too: written or not, nothing newer may be on disk without it.
            flying = [self._flying.batch] if first and self._flying is not None else []
            if not queued and not flying:
                return True
            try:
                await self._on_disk(lambda: spool.append(flying + queued))
            except OSError as error:
                self._queue.extendleft(reversed(queued))
                self._tell_full(error)
                return False
            self.memory_trades -= sum(len(batch.trades) for batch in queued)
            if first or self.disk_is_full:
                self._on_event("warning", "spool_started", f"what waits for Postgres goes to {spool.folder}")
            self.disk_is_full = False
            return True

    def keep_refused(self, refused: Batch) -> str:
        """Rows that the database refuses, to a file for people; returns where."""
        return "the log" if self._spool is None else self._spool.keep_refused(refused)

    async def close(self) -> None:
        """Let go of the file."""
        if self._spool is not None:
            await self._on_disk(self._spool.close)
        self._thread.shutdown(wait=False)

    def _tell_full(self, error: OSError) -> None:
        self._full_until = time.monotonic() + FULL_RETRY_S
        if not self.disk_is_full:
            self.disk_is_full = True
            self._on_event(
                "error",
                "spool_full",
                f"the disk takes no more ({error.strerror or error}): {self.memory_trades} trades wait in "
                f"memory; beyond {self._bounds.capacity_trades} new ones are left, to be asked for again",
            )

    async def _on_disk(self, action: Callable[[], T]) -> T:
        """In the spool's own thread, to its end even when the caller is cancelled."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, action))
