"""Keeps every bot in the state people want: starts, stops, watches and restarts their processes."""

import asyncio
import contextlib
from pathlib import Path

import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from config.settings import Settings
from core.bot_states import MAX_RESTARTS_AN_HOUR, Actual, Desired, Step, next_step
from core.errors import BadInput, Unavailable
from live.bots.messages import status_message
from live.bots.process import BotProcess, BotProcesses
from live.bots.runner_codes import CRASHED, ORPHANED, STOPPED, UNUSABLE
from live.bots.threads import uninterrupted
from pipelines.bus.base import Bus
from pipelines.clock import SystemClock
from pipelines.warehouse.bot_files import folder_version, read_folder
from pipelines.warehouse.bot_lease import Lease
from pipelines.warehouse.bots import (
    CONTROL_CHANNEL,
    BotRow,
    crashes_since,
    list_bots,
    record_crash,
    record_state,
    save_bot,
    set_status,
)
from pipelines.warehouse.health import Level, record_event
from pipelines.warehouse.sql import to_ms

HOUR_MS = 3_600_000
START_S = 60.0
"""Time a bot has until its first heartbeat."""


class Limits(msgspec.Struct, frozen=True):
    """When the supervisor acts.

    look_s: longest time between two looks at what is wanted
    stop_s: time a bot has to end by itself
    hung_s: without a heartbeat for so long a bot counts as hung
    memory_bytes: resident memory past which a bot counts as leaking; healthy ones stay near 130 MB
    """

    look_s: float = 2.0
    stop_s: float = 5.0
    hung_s: float = 30.0
    memory_bytes: int = 600_000_000


_log = structlog.get_logger("bots")


class BotSupervisor:
    """Runs inside the daemon; several daemons on one database take turns (see Lease).

    Parameters
    ----------
    settings: with database_url and redis_url resolved; passed on to the bots
    engine: of that database
    bus: for control:bots (read), status:{bot} and system:events (written)
    """

    def __init__(self, settings: Settings, engine: Engine, bus: Bus, limits: Limits | None = None) -> None:
        self._settings = settings
        self._limits = limits or Limits()
        self._engine = engine
        self._bus = bus
        self._clock = SystemClock()
        self._lease = Lease(engine)
        self._starter = BotProcesses(settings, self._wake)
        self._processes: dict[str, BotProcess] = {}
        self._files: tuple[tuple[str, int, int], ...] | None = None
        self._problems: dict[Path, str] = {}
        self._something = asyncio.Event()
        self._reachable_since: float | None = None
        self._standby = False

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
        await self._stop_all()
        await self._starter.close()
        await asyncio.gather(listener, return_exceptions=True)
        self._lease.release()

    def _wake(self) -> None:
        self._something.set()

    async def _look(self) -> None:
        """One round: who am I, what do the files say, what is wanted, what is."""
        loop = asyncio.get_running_loop()
        try:
            if not await uninterrupted(self._lease.hold):
                await self._stand_by()
                return
            self._standby = False
            await self._sync_files()
            for row in await uninterrupted(list_bots, self._engine):
                await self._reconcile(row)
        except DBAPIError as error:
            if self._reachable_since is not None or self._files is None:
                _log.warning("the database is away; bots are left as they are", error=str(error.orig))
            self._reachable_since = None
            return
        if self._reachable_since is None:
            self._reachable_since = loop.time()

    async def _stand_by(self) -> None:
        if not self._standby:
            _log.warning("another daemon supervises the bots; this one stands by")
            self._standby, self._reachable_since = True, None
            await self._stop_all()

    async def _sync_files(self) -> None:
        """Files to rows, when one of them has changed. A file that is wrong changes nothing."""
        version = await uninterrupted(folder_version, self._settings)
        if version == self._files:
            return
        bots, problems = await uninterrupted(read_folder, self._settings)
        for path, bot in bots.items():
            try:
                saved = await uninterrupted(save_bot, self._engine, bot, path.name)
            except BadInput as error:
                problems[path] = f"{path}: {error}"
                continue
            if saved != "unchanged":
                await self._event("info", f"bot_{saved}", f"bot {bot.bot_id} {saved} from {path.name}")
        for path, problem in problems.items():
            if self._problems.get(path) != problem:
                await self._event("error", "bot_file_refused", problem)
        self._files, self._problems = version, problems

    async def _reconcile(self, row: BotRow) -> None:
        process = self._processes.get(row.name)
        if process is not None and process.exit_code is not None:
            del self._processes[row.name]
            await self._ended(row, process, process.exit_code)
        elif process is not None:
            self._watch(row, process)
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
            self._processes[row.name] = await self._starter.start(row.name, row.config)
        except ConnectionError as error:
            _log.error("cannot start bots", error=str(error))
            return
        await self._say_state(row, Actual.STARTING)

    def _watch(self, row: BotRow, process: BotProcess) -> None:
        """A process that runs: is it wanted, alive, of modest size, and of the right configuration?"""
        now = asyncio.get_running_loop().time()
        if process.stop_deadline is not None and now >= process.stop_deadline:
            process.kill()
        elif next_step(row.status, row.state) is Step.STOP or process.config != row.config:
            process.stop(now + self._limits.stop_s)
        elif self._is_hung(row, process, now):
            process.kill(f"hung: no heartbeat for {self._limits.hung_s:g} s")
        elif (used := process.memory_bytes()) > (most := self._limits.memory_bytes):
            process.kill(f"used {used // 1_000_000} MB of memory, more than {most // 1_000_000} MB")

    def _is_hung(self, row: BotRow, process: BotProcess, now: float) -> bool:
        # While the database is away nobody can write a heartbeat, and afterwards they need a moment.
        if self._reachable_since is None or now - self._reachable_since < self._limits.hung_s:
            return False
        seen = row.last_heartbeat
        if now - process.started_at < (START_S if seen is None else self._limits.hung_s):
            return False
        return seen is None or self._clock.now_ms() - to_ms(seen) > self._limits.hung_s * 1000

    async def _ended(self, row: BotRow, process: BotProcess, code: int) -> None:
        """A process is gone: as asked, or it crashed."""
        asked = process.stop_deadline is not None and process.kill_reason is None
        if asked or code in {STOPPED, ORPHANED}:
            await self._record(row, Actual.STOPPED)
            self._something.set()
            return
        reason = process.kill_reason or _reason(code, self._starter.log_of(row.name))
        await self._keep_crash(row, process, code, reason)
        await self._record(row, Actual.CRASHED)
        if code == UNUSABLE and process.kill_reason is None:
            await self._give_up(row, f"bot {row.name} cannot run as configured: {reason}")
            return
        recent = await uninterrupted(crashes_since, self._engine, row.id, self._clock.now_ms() - HOUR_MS)
        if min(recent - 1, row.restarts) >= MAX_RESTARTS_AN_HOUR:
            await self._give_up(row, f"bot {row.name} crashed {recent} times within an hour: {reason}")
            return
        await self._event("warning", "bot_crashed", f"bot {row.name} crashed and is restarted: {reason}")
        self._something.set()

    async def _keep_crash(self, row: BotRow, process: BotProcess, code: int, reason: str) -> None:
        """Store a crash that the process could not store itself."""
        alive_s = asyncio.get_running_loop().time() - process.started_at
        since_ms = self._clock.now_ms() - int(alive_s * 1000) - 1000
        if code == CRASHED and await uninterrupted(crashes_since, self._engine, row.id, since_ms) > 0:
            return
        tail = await uninterrupted(_tail, self._starter.log_of(row.name))
        await uninterrupted(record_crash, self._engine, row.id, self._clock.now_ms(), code, reason, tail)

    async def _give_up(self, row: BotRow, message: str) -> None:
        await uninterrupted(set_status, self._engine, row.name, Desired.ERROR)
        await self._event("error", "bot_error", message)
        self._something.set()

    async def _record(self, row: BotRow, state: Actual) -> None:
        await uninterrupted(record_state, self._engine, row.id, state, pid=None)
        self._something.set()
        await self._say_state(row, state)

    async def _say_state(self, row: BotRow, state: Actual) -> None:
        await self._publish(*status_message(row.name, row.status.value, state.value, None, None, "state"))

    async def _event(self, level: Level, event: str, message: str) -> None:
        _log.log({"info": 20, "warning": 30, "error": 40}[level], message, event_name=event)
        await uninterrupted(record_event, self._engine, level, "bots", event, message)
        await self._publish(
            "system:events", {"level": level, "component": "bots", "event": event, "message": message}
        )

    async def _publish(self, channel: str, message: dict[str, object]) -> None:
        try:
            await self._bus.publish(channel, message)
        except Unavailable as error:
            _log.debug("not published", channel=channel, error=str(error))

    async def _listen(self) -> None:
        async for _ in self._bus.subscribe([CONTROL_CHANNEL]):
            self._something.set()

    def _patience(self) -> float:
        """Seconds until the next look, sooner when a stopping bot's time runs out."""
        now = asyncio.get_running_loop().time()
        deadlines = [p.stop_deadline - now for p in self._processes.values() if p.stop_deadline is not None]
        return max(0.05, min([self._limits.look_s, *deadlines]))

    async def _stop_all(self) -> None:
        """End every process: in order if there is time, and note it if the database can be reached."""
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
        try:
            for row in await uninterrupted(list_bots, self._engine):
                if row.name in processes and row.state.has_process:
                    await self._record(row, Actual.STOPPED)
        except DBAPIError as error:
            _log.warning("states of stopped bots not stored", error=str(error.orig))


def _reason(code: int, log: Path) -> str:
    if code < 0:
        return f"killed by signal {-code}"
    last_words = (_tail(log) or "").strip().splitlines()
    if code == UNUSABLE and last_words:
        return last_words[-1]
    return f"ended with code {code}"


def _tail(log: Path, size: int = 4000) -> str | None:
    """The end of a bot's log, where its last words are."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return None
