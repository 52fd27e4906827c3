"""Trades, candles and gaps to Postgres: in order, in batches, together, and again until it succeeds."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from core.candles import Candle
from core.trades import Trade
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import is_outage
from pipelines.warehouse.gaps import GapState, record_gap
from pipelines.warehouse.trades import copy_trades

FLUSH_S = 0.025
BATCH_TRADES = 20_000
CAPACITY_TRADES = 1_000_000
"""Trades kept while Postgres is away: about 300 MB."""
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)

_log = structlog.get_logger("writer")


class GapRecord(msgspec.Struct, frozen=True):
    """A line of the ledger of missing trades."""

    symbol: str
    first_id: int
    last_id: int
    state: GapState
    at_ms: int
    note: str | None = None


class Batch(msgspec.Struct):
    """What one transaction writes."""

    trades: list[Trade] = []
    candles: list[Candle] = []
    gaps: list[GapRecord] = []


class Writer:
    """A queue in memory and one thread that writes it.

    A candle is never committed before its trades: both are taken in the order they were put. While Postgres
    is away the same batch is tried again and the queue grows; `is_full` says when to take in no more.

    Parameters
    ----------
    engine: the database
    on_committed: called in the event loop with the candles that a commit made new or changed, as stored
    on_state: called with "away" or "back" and a reason
    """

    def __init__(
        self,
        engine: Engine,
        on_committed: Callable[[list[Candle]], None],
        on_state: Callable[[str, str], None],
        capacity_trades: int = CAPACITY_TRADES,
    ) -> None:
        self._engine = engine
        self._on_committed = on_committed
        self._on_state = on_state
        self._capacity = capacity_trades
        self._queue: deque[Batch] = deque()
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(1, "writer")
        self._away = False
        self._stopping = asyncio.Event()
        self._urgent = asyncio.Event()
        self.pending_trades = 0
        self.written_trades = 0
        self.commits = 0
        self.last_commit_ms = 0.0

    @property
    def is_full(self) -> bool:
        """Whether no more trades should be taken in."""
        return self.pending_trades >= self._capacity

    @property
    def is_away(self) -> bool:
        """Whether Postgres did not answer at the last attempt."""
        return self._away

    def put(
        self,
        trades: Sequence[Trade] = (),
        candles: Sequence[Candle] = (),
        gaps: Sequence[GapRecord] = (),
    ) -> None:
        """Queue for writing, after all that was queued before and before all that comes after."""
        if not self._queue or len(self._queue[-1].trades) >= BATCH_TRADES:
            self._queue.append(Batch())
        last = self._queue[-1]
        last.trades += trades
        last.candles += candles
        last.gaps += gaps
        self.pending_trades += len(trades)
        if candles:
            self._urgent.set()

    async def run(self) -> None:
        """Write until `stop`, and then what is left."""
        while not (self._stopping.is_set() and not self._queue):
            if self._queue:
                await self._write_first()
            await self._sleep()

    async def _sleep(self) -> None:
        """Until the next flush; a candle does not wait for it, nor does `stop`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._urgent.wait()
        self._urgent.clear()

    def stop(self) -> None:
        """Let `run` end when everything is written."""
        self._stopping.set()
        self._urgent.set()

    async def close(self) -> None:
        """Let go of the connection."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    async def _write_first(self) -> None:
        batch, failures = self._queue.popleft(), 0
        while True:
            started = time.perf_counter()
            try:
                revisions = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._commit, batch
                )
                break
            except DBAPIError as error:
                if not is_outage(error):
                    raise
                self._set_away(str(error.orig).strip().split("\n")[0])
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1
        self.last_commit_ms = (time.perf_counter() - started) * 1000
        self.pending_trades -= len(batch.trades)
        self.written_trades += len(batch.trades)
        self.commits += 1
        if self._away:
            self._away = False
            self._on_state("back", f"{self.pending_trades} trades to catch up")
        self._on_committed(
            [
                msgspec.structs.replace(candle, revision=revisions[key])
                for candle in batch.candles
                if (key := (candle.symbol, candle.timeframe, candle.close_ms)) in revisions
            ]
        )

    def _commit(self, batch: Batch) -> dict[tuple[str, str, int], int]:
        """In the thread: one transaction."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                copy_trades(self._connection, batch.trades)
                revisions = upsert_candles(self._connection, batch.candles)
                for gap in batch.gaps:
                    record_gap(
                        self._connection,
                        gap.symbol,
                        gap.first_id,
                        gap.last_id,
                        gap.state,
                        gap.at_ms,
                        gap.note,
                    )
        except BaseException:
            self._disconnect()
            raise
        return {(symbol, timeframe, close_ms): n for (symbol, timeframe, close_ms), n in revisions.items()}

    def _disconnect(self) -> None:
        if self._connection is not None:
            # Not back to the pool: it is broken, or holds the staging table.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _set_away(self, reason: str) -> None:
        if not self._away:
            self._away = True
            _log.warning("postgres is away", reason=reason, pending_trades=self.pending_trades)
            self._on_state("away", reason)
