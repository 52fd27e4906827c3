"""Trades, candles and gaps to Postgres: in order, in batches, together, and again until it succeeds."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from core.candles import Candle
from core.trades import Trade
from live.collector.backlog import Backlog, Bounds
from live.collector.batch import Batch, Chunk, GapRecord, Lost, Position
from live.collector.patience import until_it_answers
from live.collector.spool import Spool
from live.collector.transaction import Revisions, as_unfillable, is_refusal, open_lost, sift, write_chunk
from pipelines.warehouse.database import is_outage
from pipelines.warehouse.lock import PlaceUnsure
from pipelines.warehouse.spool import spool_position

FLUSH_S = 0.025
RETRY_S = (0.1, 0.2, 0.5, 1.0, 2.0)
WATCH_S = 0.25
CLOSE_S = 0.5

_log = structlog.get_logger("writer")


class Writer:
    """A backlog and one thread that writes it.

    A candle is never committed before its trades: both are taken in the order they were put. While Postgres
    is away the same batch is tried again and the backlog grows, on disk beyond its bounds; `is_full` says
    when to take in no more.

    Parameters
    ----------
    engine: the database
    on_committed: called in the event loop with the candles that a commit made new or changed, as stored
    on_event: told (level, event, message) of outages
    spool: where the backlog goes when memory is not enough; None keeps it in memory
    unkept: symbols of which no raw trades are stored
    confirm: raises PlaceUnsure in a transaction that must not write, for another daemon may; see DaemonLock
    """

    def __init__(
        self,
        engine: Engine,
        on_committed: Callable[[list[Candle]], None],
        on_event: Callable[[str, str, str], None],
        spool: Spool | None = None,
        bounds: Bounds = Bounds(),  # noqa: B008 - frozen
        unkept: Collection[str] = (),
        confirm: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        self._engine = engine
        self._confirm = confirm
        self._on_committed = on_committed
        self._on_event = on_event
        self._bounds = bounds
        self._unkept = frozenset(unkept)
        self._backlog = Backlog(spool, bounds, on_event)
        self._connection: Connection | None = None
        self._thread = ThreadPoolExecutor(1, "writer")
        self._away_since: float | None = None
        self._told_lasting = self._told_full = False
        self._draining_since: float | None = None
        self._drained = 0
        self._stopping = asyncio.Event()
        self._urgent = asyncio.Event()
        self.lost: asyncio.Queue[Lost] = asyncio.Queue()
        """Trades that the disk did not give back, to be asked for again; their ledger's rows are open."""
        self.recovered = asyncio.Event()
        """Set once everything that an earlier process left on disk is written."""
        self.written_trades = 0
        self.commits = 0
        self.last_commit_ms = 0.0

    @property
    def pending_trades(self) -> int:
        """Trades that wait in memory."""
        return self._backlog.memory_trades

    @property
    def is_full(self) -> bool:
        """Whether no more trades should be taken in."""
        return self.pending_trades >= self._bounds.capacity_trades

    @property
    def is_away(self) -> bool:
        """Whether Postgres did not answer at the last attempt."""
        return self._away_since is not None

    def health(self) -> dict[str, Any]:
        """For the heartbeat; plain JSON."""
        away_since, backlog = self._away_since, self._backlog
        spool = "full" if backlog.disk_is_full else "empty"
        if backlog.is_spooled and not backlog.disk_is_full:
            spool = "filling" if self.is_away else "draining"
        return {
            "written_trades": self.written_trades,
            "pending_trades": self.pending_trades,
            "postgres_away": self.is_away,
            "postgres_away_s": 0 if away_since is None else round(time.monotonic() - away_since, 1),
            "last_commit_ms": round(self.last_commit_ms, 2),
            "spool": {
                "state": spool,
                "trades": backlog.spooled_trades,
                "bytes": backlog.spooled_bytes,
            },
        }

    def put(
        self,
        trades: Sequence[Trade] = (),
        candles: Sequence[Candle] = (),
        gaps: Sequence[GapRecord] = (),
    ) -> None:
        """Queue for writing, after all that was queued before and before all that comes after."""
        self._backlog.put(trades, candles, gaps)
        if candles:
            self._urgent.set()

    async def run(self) -> None:
        """Write until `stop`, and then what is left in memory; what is on disk waits for the next start."""
        helpers = [asyncio.create_task(self._watch(), name="outage watch")]
        try:
            await self._recover()
            bounding = self._backlog.keep_bounds(lambda: self.is_away)
            helpers.append(asyncio.create_task(bounding, name="spool"))
            while not (self._stopping.is_set() and (self._backlog.is_empty or self._backlog.is_spooled)):
                chunk = await self._backlog.take()
                if chunk is not None:
                    await self._write(chunk)
                elif not self.recovered.is_set():
                    self.recovered.set()
                if not self._backlog.is_behind:
                    await self._sleep()
            if self._backlog.is_spooled:
                await self._backlog.spill()
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def save(self) -> bool:
        """After `run` was cancelled: what it left, to disk for the next start. Whether all is safe."""
        return await self._backlog.spill() or not self.pending_trades

    def stop(self) -> None:
        """Let `run` end when everything is written."""
        self._stopping.set()
        self._urgent.set()

    async def close(self) -> None:
        """Let go of the connection and of the spool; a server that hangs is not waited for."""
        disconnecting = asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await disconnecting
        self._thread.shutdown(wait=False)
        await self._backlog.close()

    async def _recover(self) -> None:
        position = await until_it_answers(
            "the spool's position", lambda: asyncio.to_thread(self._position), RETRY_S
        )
        found = await self._backlog.recover(position)
        if found is None:
            return
        self._tell_damage(found.damaged, found.lost)
        if found.lost:
            # At once: after a kill in the middle of draining they would not be seen again.
            await until_it_answers("lost trades", lambda: asyncio.to_thread(self._open, found.lost), RETRY_S)
        if found.torn:
            _log.warning("the last record of the spool was not finished", segments=found.torn)
        if found.trades:
            text = f"{found.trades} trades of an earlier run wait in {found.segments} files"
            self._on_event("warning", "spool_found", text)

    def _open(self, lost: list[Lost]) -> None:
        with self._engine.begin() as connection:
            open_lost(connection, lost)

    def _tell_damage(self, damaged: Sequence[str], lost: Sequence[Lost]) -> None:
        if damaged:
            ids = ", ".join(f"{each.symbol} {each.first_id or '?'}-{each.last_id}" for each in lost)
            text = f"cannot be read, kept in {', '.join(damaged)}; asked for again: {ids or 'nothing'}"
            self._on_event("error", "spool_damaged", text)

    def _position(self) -> Position | None:
        with self._engine.connect() as connection:
            stored = spool_position(connection)
        return None if stored is None else Position(*stored)

    async def _sleep(self) -> None:
        """Until the next flush; a candle does not wait for it, nor does `stop`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                await self._urgent.wait()
        self._urgent.clear()

    async def _write(self, chunk: Chunk) -> None:
        failures, writing = 0, chunk
        while True:
            started = time.perf_counter()
            try:
                revisions = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._commit, writing
                )
                break
            except PlaceUnsure as error:
                self._set_away(str(error))
            except DBAPIError as error:
                if is_refusal(error):
                    writing = await self._without_refused(writing, error)
                    continue
                if not is_outage(error):
                    raise
                self._set_away(_reason(error))
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1
        self.last_commit_ms = (time.perf_counter() - started) * 1000
        self.written_trades += len(chunk.batch.trades)
        self.commits += 1
        self._set_back()
        await self._backlog.done(chunk)
        self._tell_damage(chunk.damaged, chunk.lost)
        for each in chunk.lost:
            self.lost.put_nowait(each)
        self._count_drained(chunk)
        self._on_committed(_as_stored(writing.batch.candles, revisions))

    async def _without_refused(self, chunk: Chunk, error: DBAPIError) -> Chunk:
        """One bad row must not hold up all that comes after it, for ever."""
        loop, reason = asyncio.get_running_loop(), _reason(error)
        try:
            rest, refused = await loop.run_in_executor(self._thread, self._sift, chunk)
        except DBAPIError as other:
            if not is_outage(other):
                raise
            return chunk
        rows = [*refused.trades, *refused.candles, *refused.gaps]
        if not rows:
            raise error  # none of them by itself: that is not the data's fault
        kept = self._backlog.keep_refused(refused)
        text = f"PostgreSQL refuses {len(rows)} rows, the first is {rows[0]}: {reason}; kept in {kept}"
        self._on_event("error", "rows_refused", text)
        rest.gaps += as_unfillable(refused, reason)
        return msgspec.structs.replace(chunk, batch=rest)

    def _commit(self, chunk: Chunk) -> Revisions:
        """In the thread: one transaction."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
            with self._connection.begin():
                self._confirm(self._connection)
                return write_chunk(self._connection, chunk, self._unkept)
        except BaseException:
            self._disconnect()
            raise

    def _sift(self, chunk: Chunk) -> tuple[Batch, Batch]:
        """In the thread: what the database takes of the chunk, and what it refuses."""
        with self._engine.connect() as connection, connection.begin() as attempt:
            parted = sift(connection, chunk.batch)
            attempt.rollback()
        return parted

    def _disconnect(self) -> None:
        if self._connection is not None:
            # Not back to the pool: it is broken, or holds the staging table.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    # --- outages, told

    async def _watch(self) -> None:
        """Notice a server that hangs, and say so when an outage lasts, or memory is full."""
        hung_s, lasting_s = self._bounds.hung_s, self._bounds.lasting_s
        while True:
            await asyncio.sleep(WATCH_S)
            if self._backlog.waited_s > hung_s and not self.is_away:
                self._set_away(f"no answer for {hung_s:.0f} s")
            since = self._away_since
            if since is not None and not self._told_lasting and time.monotonic() - since > lasting_s:
                self._told_lasting = True
                text = f"Postgres has been away for {lasting_s:.0f} s; {self._waiting()}"
                self._on_event("error", "postgres_outage", text)
            self._tell_full()

    def _tell_full(self) -> None:
        if self.is_full and not self._told_full:
            self._told_full = True
            text = f"{self._waiting()}; new trades are left out, and asked for by id when there is room"
            self._on_event("error", "memory_full", text)
        elif self._told_full and self.pending_trades < self._bounds.capacity_trades // 2:
            self._told_full = False
            self._on_event("info", "memory_has_room", self._waiting())

    def _set_away(self, reason: str) -> None:
        if self._away_since is None:
            self._away_since, self._told_lasting = time.monotonic(), False
            _log.warning("postgres is away", reason=reason, pending_trades=self.pending_trades)
            self._on_event("error", "postgres_away", reason)

    def _set_back(self) -> None:
        if self._away_since is None:
            return
        lasted_s = time.monotonic() - self._away_since
        self._away_since = None
        self._on_event("info", "postgres_back", f"after {lasted_s:.0f} s; {self._waiting()}")

    def _waiting(self) -> str:
        backlog = self._backlog
        return (
            f"{backlog.memory_trades} trades wait in memory, {backlog.spooled_trades} on disk "
            f"({backlog.spooled_bytes / 1e6:.1f} MB)"
        )

    def _count_drained(self, chunk: Chunk) -> None:
        if chunk.drained is None:
            return
        now = time.monotonic()
        if self._draining_since is None:
            self._draining_since, self._drained = now - self.last_commit_ms / 1000, 0
        self._drained += len(chunk.batch.trades)
        if not self._backlog.is_spooled:
            took_s = max(now - self._draining_since, 0.001)
            self._draining_since = None
            rate = self._drained / took_s
            text = f"{self._drained} trades written from disk in {took_s:.1f} s, {rate:.0f} a second"
            self._on_event("info", "spool_drained", text)


def _as_stored(candles: Sequence[Candle], revisions: Revisions) -> list[Candle]:
    """Those that the commit made new or changed. Of one that was revised while it waited only the last state
    was ever stored, and nobody may act on another."""
    states = {(candle.symbol, candle.timeframe, candle.close_ms): candle for candle in candles}
    return [
        msgspec.structs.replace(candle, revision=revisions[key])
        for key, candle in states.items()
        if key in revisions
    ]


def _reason(error: DBAPIError) -> str:
    return str(error.orig).strip().split("\n")[0]
