"""Keeps every bot in the state people want: starts, stops, watches and restarts their processes."""

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from config.settings import Settings
from core.bot_states import Actual, Desired, IllegalMove, Step, next_step
from core.errors import BadInput
from live.bots.faults import fault, is_away, said
from live.bots.folder import BotFolder
from live.bots.process import BotProcess, BotProcesses
from live.bots.reports import Reports
from live.bots.runner_codes import CRASHED, LOST, STOPPED, UNUSABLE, UNWANTED
from live.bots.threads import uninterrupted
from live.bots.vitals import Limits
from pipelines.bus.base import Bus
from pipelines.clock import SystemClock
from pipelines.warehouse.bot_lease import Lease
from pipelines.warehouse.bots import (
    CONTROL_CHANNEL,
    BotRow,
    crash_reason,
    crashes_since,
    list_bots,
    record_crash,
    record_state,
    set_status,
)

HOUR_MS = 3_600_000
LAST_LINES_BYTES = 8_000
"""Of a bot's log that are kept with a crash: the stacks of a few threads fit."""

_log = structlog.get_logger("bots")


class BotSupervisor:
    """Runs inside the daemon; several daemons on one database take turns (see Lease).

    is_standby: another daemon has the lease

    Parameters
    ----------
    settings: with database_url and redis_url resolved; passed on to the bots
    engine: of that database
    bus: for control:bots (read), status:{bot} and system:events (written)
    limits: of the bots; None: those of the settings
    """

    def __init__(self, settings: Settings, engine: Engine, bus: Bus, limits: Limits | None = None) -> None:
        self._limits = limits or Limits.of(settings)
        self._engine = engine
        self._bus = bus
        self._clock = SystemClock()
        self._lease = Lease(engine)
        self._reports = Reports(engine, bus)
        self._starter = BotProcesses(settings, self._limits, self._wake)
        self._folder = BotFolder(settings, engine, self._reports, self._starter.read_files)
        self._processes: dict[str, BotProcess] = {}
        self._something = asyncio.Event()
        self._reachable_since: float | None = None
        self.is_standby = False
        self._faults: dict[str, str] = {}

    async def run(self) -> None:
        """Until cancelled; then the bots are stopped."""
        listener = asyncio.create_task(self._listen())
        try:
            while True:
                self._something.clear()
                await self._look()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._patience()):
                        await self._something.wait()
        finally:
            # A task of its own: in a cancelled one the bus refuses to work.
            await asyncio.create_task(self._wind_up(listener))

    async def _wind_up(self, listener: asyncio.Task[None]) -> None:
        listener.cancel()
        await self._folder.close()
        await self._note_stopped(await self._stop_all())
        await self._starter.close()
        await asyncio.gather(listener, return_exceptions=True)
        # Off the loop: a server that hangs must not hold up the parts that have something to save.
        await asyncio.to_thread(self._lease.release)

    def _wake(self) -> None:
        self._something.set()

    async def _look(self) -> None:
        """One round: who am I, what do the files say, what is wanted, what is."""
        loop = asyncio.get_running_loop()
        try:
            if not await uninterrupted(self._lease.hold):
                await self._stand_by()
                return
            self.is_standby = False
            await self._apart("the files of bots", self._folder.follow())
            rows = await uninterrupted(list_bots, self._engine, deleted=True)
            for row in rows:
                await self._apart(f"bot {row.name}", self._reconcile(row))
            self._end_strangers({row.id for row in rows})
        except Exception as error:
            if not is_away(error):
                await self._tell_fault("the supervision of bots", error)
            elif self._reachable_since is not None or not self._folder.was_read:
                _log.warning("the database is away; bots are left as they are", error=fault(error))
            self._reachable_since = None
            return
        if self._reachable_since is None:
            self._reachable_since = loop.time()

    async def _apart(self, what: str, step: Coroutine[Any, Any, None]) -> None:
        """Make a step of one bot: what is wrong there is told, and is no other bot's affair. A database that
        is away is everybody's."""
        try:
            await step
        except IllegalMove as error:
            # Its own process, or another daemon, moved it since it was read: the next look reads it again.
            _log.warning("a bot was moved meanwhile", about=what, error=str(error))
        except Exception as error:
            if is_away(error):
                raise
            await self._tell_fault(what, error)
        else:
            self._faults.pop(what, None)

    async def _tell_fault(self, what: str, error: Exception) -> None:
        """Once for each reason, until the step was made; it is tried again at every look."""
        if self._faults.get(what) == fault(error):
            return
        self._faults[what] = fault(error)
        _log.error("cannot go on", about=what, exc_info=error)
        with contextlib.suppress(SQLAlchemyError):
            await self._reports.event("error", "bots_fault", f"{what}: {fault(error)}")

    async def _stand_by(self) -> None:
        """Bots that run here belong to another daemon by now, which writes their states."""
        if not self.is_standby:
            _log.warning("another daemon supervises the bots; this one stands by")
            self.is_standby, self._reachable_since = True, None
            await self._stop_all()

    async def _reconcile(self, row: BotRow) -> None:
        process = self._processes.get(row.name)
        if process is not None and process.bot_id != row.id:
            return  # of a bot that was purged, and this one has its name: see _end_strangers
        if process is not None and process.exit_code is not None:
            await self._ended(row, process, process.exit_code)
        elif process is not None:
            await self._watch(row, process)
        elif row.state.has_process:
            # Its process died with the daemon before this one; that is no crash of the bot's.
            await self._record(row, Actual.STOPPED)
        else:
            await self._step(row)

    async def _step(self, row: BotRow) -> None:
        step = next_step(row.status, row.state)
        if step is Step.START:
            await self._start(row)
        elif step is Step.SETTLE_STOPPED:
            await self._record(row, Actual.STOPPED)
        elif step is Step.SETTLE_ERROR:
            await self._record(row, Actual.ERROR)

    def _end_strangers(self, known: set[int]) -> None:
        """Processes of bots that were purged."""
        now = asyncio.get_running_loop().time()
        for name, process in list(self._processes.items()):
            if process.bot_id in known:
                continue
            if process.exit_code is not None:
                del self._processes[name]
                self._something.set()
            else:
                self._end(process, now)

    async def _start(self, row: BotRow) -> None:
        restarts = row.restarts + (row.state is Actual.CRASHED)
        await uninterrupted(
            record_state,
            self._engine,
            row.id,
            Actual.STARTING,
            pid=None,
            restarts=restarts,
            last_heartbeat=None,
        )
        try:
            self._processes[row.name] = await self._starter.start(row)
        except OSError:  # no room for a process or for its log, or the nursery died: no crash of the bot's
            await uninterrupted(record_state, self._engine, row.id, Actual.STOPPED, pid=None)
            raise
        await self._reports.state(row, Actual.STARTING)

    async def _watch(self, row: BotRow, process: BotProcess) -> None:
        """A process that runs: is it wanted, well, and of the right configuration?"""
        now = asyncio.get_running_loop().time()
        unwanted = next_step(row.status, row.state) is Step.STOP or process.version != row.config_version
        # Another daemon had the lease for a moment, and bots of its own.
        foreign = not row.state.has_process or row.pid not in {None, process.pid}
        if process.deadline() is not None or unwanted or foreign:
            self._end(process, now)
            return
        sign = process.look(row, now, self._clock.now_ms())
        complaint = None if sign is None else process.vitals.complaint(sign, self._reachable_since)
        if complaint is not None:
            process.condemn(complaint, now + self._limits.last_words_s)
        elif process.vitals.is_busy and not process.gives_way:
            process.give_way()
            burnt_s, most_s = process.vitals.burnt_s, self._limits.burn_s
            await self._reports.event(
                "warning",
                "bot_busy",
                f"bot {row.name} has burnt {burnt_s:.0f} s of processor time beside its candles and gives way"
                f" to all others; at {most_s:g} s it is ended",
            )

    def _end(self, process: BotProcess, now: float) -> None:
        """Ask it to end, or end it when its time is over."""
        deadline = process.deadline()
        if deadline is None:
            process.stop(now + self._limits.stop_s)
        elif now >= deadline:
            process.kill()

    async def _ended(self, row: BotRow, process: BotProcess, code: int) -> None:
        """A process is gone: as asked, or it crashed."""
        asked = process.stop_deadline is not None or code in {UNWANTED, LOST}
        if asked and process.kill_reason is None:
            await self._settle(row, Actual.STOPPED)
            return
        if process.crash is None:
            process.crash = await self._keep_crash(row, process, code)
        reason = process.crash
        await self._settle(row, Actual.CRASHED)
        if code == UNUSABLE and process.kill_reason is None:
            await self._give_up(row, f"bot {row.name} cannot run as configured: {reason}")
            return
        recent = await uninterrupted(crashes_since, self._engine, row.id, self._clock.now_ms() - HOUR_MS)
        if min(recent - 1, row.restarts) >= self._limits.restarts:
            await self._give_up(row, f"bot {row.name} crashed {recent} times within an hour: {reason}")
            return
        await self._reports.event(
            "warning", "bot_crashed", f"bot {row.name} crashed and is restarted: {reason}"
        )

    async def _settle(self, row: BotRow, state: Actual) -> None:
        """Store what the end of its process leaves of a bot; an outage leaves it to the next look."""
        try:
            await self._record(row, state)
        except IllegalMove:
            del self._processes[row.name]
            raise
        del self._processes[row.name]

    async def _keep_crash(self, row: BotRow, process: BotProcess, code: int) -> str:
        """Store a crash, unless the process could store it itself; returns its reason."""
        alive_s = asyncio.get_running_loop().time() - process.started_at
        since_ms = self._clock.now_ms() - int(alive_s * 1000) - 1000
        stored = await uninterrupted(crash_reason, self._engine, row.id, since_ms)
        if code == CRASHED and stored is not None:
            return stored
        reason = process.kill_reason or _reason(code, self._starter.log_of(row.name))
        tail = await uninterrupted(_tail, self._starter.log_of(row.name))
        await uninterrupted(record_crash, self._engine, row.id, self._clock.now_ms(), code, reason, tail)
        return reason

    async def _give_up(self, row: BotRow, message: str) -> None:
        try:
            await uninterrupted(set_status, self._engine, row.name, Desired.ERROR)
        except BadInput:
            return  # deleted meanwhile: there is nothing left to give up
        await self._reports.event("error", "bot_error", message)
        self._something.set()

    async def _record(self, row: BotRow, state: Actual) -> None:
        await uninterrupted(record_state, self._engine, row.id, state, pid=None)
        self._something.set()
        await self._reports.state(row, state)

    async def _listen(self) -> None:
        async for _ in self._bus.subscribe([CONTROL_CHANNEL]):
            self._something.set()

    def _patience(self) -> float:
        """Seconds until the next look, sooner when the time of an ending bot runs out."""
        now = asyncio.get_running_loop().time()
        deadlines = [process.deadline() for process in self._processes.values()]
        left = [deadline - now for deadline in deadlines if deadline is not None]
        return max(0.05, min([self._limits.look_s, *left]))

    async def _stop_all(self) -> set[str]:
        """End every process, in order if there is time; the names of their bots."""
        deadline = asyncio.get_running_loop().time() + self._limits.stop_s
        processes, self._processes = self._processes, {}
        for process in processes.values():
            process.stop(deadline)
        try:
            async with asyncio.timeout(self._limits.stop_s):
                await asyncio.gather(*(process.wait() for process in processes.values()))
        except TimeoutError:
            for process in processes.values():
                process.kill()
            await asyncio.gather(*(process.wait() for process in processes.values()))
        return set(processes)

    async def _note_stopped(self, names: set[str]) -> None:
        """Say of bots that they are stopped, if the database can be reached and they are still ours."""
        try:
            if not names or not await uninterrupted(self._lease.hold):
                return
            for row in await uninterrupted(list_bots, self._engine, deleted=True):
                if row.name in names and row.state.has_process:
                    await self._apart(f"bot {row.name}", self._record(row, Actual.STOPPED))
        except SQLAlchemyError as error:
            _log.warning("states of stopped bots not stored", error=said(error))


def _reason(code: int, log: Path) -> str:
    if code < 0:
        return f"killed by signal {-code}"
    if code == STOPPED:
        return "ended by itself, although nobody had asked it to"
    last_words = (_tail(log) or "").strip().splitlines()
    if code == UNUSABLE and last_words:
        return last_words[-1]
    return f"ended with code {code}"


def _tail(log: Path, size: int = LAST_LINES_BYTES) -> str | None:
    """The end of a bot's log, where its last words are."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return None
