"""The processes of bots, as the supervisor sees them."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import psutil
import structlog

from config.settings import PROJECT_ROOT, Settings
from core.timeframes import Timeframe
from live.bots.files import Found, Order, Unreadable
from live.bots.lifeline import PARENT_VARIABLE
from live.bots.runner_codes import LAST_WORDS, LOST
from live.bots.vitals import Limits, Sign, Vitals
from pipelines.exchanges.okx.keys import without_keys
from pipelines.warehouse.bots import BotRow
from pipelines.warehouse.sql import to_ms

LOG_BYTES = 5_000_000
"""A log larger than this is put aside as NAME.log.1 when its bot starts."""

LAST_IN_LINE = 19
"""Priority (nice) of a bot that burns processor time, until it is ended or started again."""

READER = ".files"
"""In place of a bot's name, for the process that reads their files; no bot may have it."""

_log = structlog.get_logger("bots")


class Child:
    """A running (or just ended) process that the nursery forked.

    exit_code: None while it runs; −n when signal n ended it; else of live.bots.runner_codes
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        self._ended = asyncio.Event()

    async def wait(self) -> None:
        """Until it has ended."""
        await self._ended.wait()

    def end(self, code: int) -> None:
        """Note that it has ended."""
        self.exit_code = code
        self._ended.set()

    def kill(self) -> None:
        """End it now, and whatever its strategy has started."""
        if self.exit_code is None:
            self._signal(signal.SIGKILL)
            self.end_group()

    def end_group(self) -> None:
        """End all that is left of the session that the process leads."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return  # it ended by itself a moment ago


class BotProcess(Child):
    """A running (or just ended) process of a bot. Times are of the event loop's clock, seconds.

    bot_id, version: bots.id and the version of the configuration with which it was started
    stop_deadline: when a stop that was asked for becomes a kill; None: no stop was asked for
    kill_reason: why the supervisor ends it, if it does; kill_at: when, its last words written by then
    crash: why it ended, once that is on record; None: not yet, or it was asked to end
    gives_way: it gets the processor only when nobody else wants it, until it ends
    """

    def __init__(self, pid: int, row: BotRow, limits: Limits, now: float) -> None:
        super().__init__(pid)
        self.bot_id = row.id
        self.version = row.config_version
        self.started_at = now
        self.vitals = Vitals(limits, now)
        self.kill_reason: str | None = None
        self.kill_at: float | None = None
        self.stop_deadline: float | None = None
        self.crash: str | None = None
        self.gives_way = False
        self._judged_ms: int | None = None

    def stop(self, deadline: float) -> None:
        """Ask it to end, once; after `deadline` call `kill`."""
        if self.stop_deadline is None:
            self.stop_deadline = deadline
            self._signal(signal.SIGTERM)

    def condemn(self, reason: str, kill_at: float) -> None:
        """Have it write every thread's stack to its log; at `kill_at` call `kill`. This counts as a crash."""
        if self.kill_reason is None:
            self.kill_reason, self.kill_at = reason, kill_at
            self._signal(LAST_WORDS)

    def give_way(self) -> None:
        """Let everybody else have the processor first: it may have what is left."""
        self.gives_way = True
        with contextlib.suppress(psutil.Error):
            psutil.Process(self.pid).nice(LAST_IN_LINE)

    def deadline(self) -> float | None:
        """When something is due about it; None: nothing is."""
        if self.exit_code is not None:
            return None
        return self.stop_deadline if self.kill_at is None else self.kill_at

    def look(self, row: BotRow, now: float, now_ms: int) -> Sign | None:
        """How it is; None when it has just ended. now_ms: wall time"""
        judged_ms = None if row.last_candle is None else to_ms(row.last_candle)
        before_ms, self._judged_ms = self._judged_ms, judged_ms
        judged = 0
        if judged_ms is not None and before_ms is not None:
            judged = (judged_ms - before_ms) // Timeframe.parse(row.timeframe).ms
        seen = row.last_heartbeat
        try:
            process = psutil.Process(self.pid)
            with process.oneshot():
                return Sign(
                    at=now,
                    silent_s=None if seen is None else (now_ms - to_ms(seen)) / 1000,
                    memory_bytes=process.memory_info().rss,
                    processor_s=sum(process.cpu_times()[:2]),
                    judged=judged,
                )
        except psutil.NoSuchProcess:
            return None


class BotProcesses:
    """Starts bots by way of the nursery (see live.bots.nursery), which is started when first needed.

    Parameters
    ----------
    settings: handed on to the bots as environment variables
    limits: that the supervisor watches them by
    on_end: called when a bot's process has ended
    """

    def __init__(self, settings: Settings, limits: Limits, on_end: Callable[[], None]) -> None:
        self._settings = settings
        self._limits = limits
        self._on_end = on_end
        self._nursery: Process | None = None
        self._opening = asyncio.Lock()
        self._reader: asyncio.Task[None] | None = None
        self._alive: dict[int, Child] = {}
        self._born: dict[str, asyncio.Future[int]] = {}

    async def read_files(self, owners: Mapping[str, str | None]) -> Found:
        """What the files of bots say; owners: see `read_folder`. Unreadable when a strategy's file ends the
        process that reads them or stands still in a way that is not noticed there, OSError as `start`."""
        with TemporaryDirectory() as folder:
            order = Order(folder, dict(owners))
            reader = Child(await self._fork(READER, order))
            self._alive[reader.pid] = reader
            try:
                async with asyncio.timeout(self._limits.reading_s):
                    await reader.wait()
            except TimeoutError:
                why = f"took more than {self._limits.reading_s:g} s"
            else:
                if reader.exit_code == LOST:
                    raise ConnectionError("the nursery of bots died")
                if order.answer.exists():
                    return msgspec.json.decode(order.answer.read_bytes(), type=Found)
                why = f"ended with code {reader.exit_code}"
            finally:
                reader.kill()
            loaded = order.loaded()
        raise Unreadable(f"no file of a bot was read: the process that loads strategies {why}, at {loaded}")

    async def start(self, row: BotRow) -> BotProcess:
        """Start the process of a bot. OSError when there is no room for it or for its log; a ConnectionError
        if the nursery dies meanwhile."""
        process = BotProcess(await self._fork(row.name), row, self._limits, asyncio.get_running_loop().time())
        self._alive[process.pid] = process
        return process

    async def _fork(self, name: str, read: Order | None = None) -> int:
        """The process id of a new child of the nursery."""
        nursery = await self._ready()
        log = self.log_of(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_name(log.name + ".1"))
        born: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._born[name] = born
        assert nursery.stdin is not None
        nursery.stdin.write(msgspec.json.encode({"start": name, "log": str(log), "read": read}) + b"\n")
        await nursery.stdin.drain()
        return await born

    def log_of(self, name: str) -> Path:
        """Where a bot's output goes."""
        return self._settings.home / "logs" / "bots" / f"{name}.log"

    async def close(self) -> None:
        """End the nursery, and any bot that is left."""
        nursery, self._nursery = self._nursery, None
        if nursery is not None and nursery.stdin is not None:
            nursery.stdin.close()
            await nursery.wait()
        if self._reader is not None:
            await self._reader

    async def _ready(self) -> Process:
        async with self._opening:
            return await self._open()

    async def _open(self) -> Process:
        if self._nursery is not None and self._nursery.returncode is None:
            return self._nursery
        log = self.log_of("nursery")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            nursery = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "live.bots.nursery",
                cwd=PROJECT_ROOT,
                env=without_keys(os.environ)
                | environment(self._settings)
                | {PARENT_VARIABLE: str(os.getpid())},
                stdin=PIPE,
                stdout=PIPE,
                stderr=errors,
                # Ctrl-C in the daemon's terminal reaches the daemon, which then stops the bots in order.
                start_new_session=True,
            )
        assert nursery.stdout is not None
        if not await nursery.stdout.readline():
            raise ConnectionError(f"the nursery of bots did not start: see {log}")
        self._nursery = nursery
        self._reader = asyncio.create_task(self._read(nursery))
        return nursery

    async def _read(self, nursery: Process) -> None:
        assert nursery.stdout is not None
        async for line in nursery.stdout:
            said = msgspec.json.decode(line)
            if "started" in said:
                born = self._born.pop(said["started"])
                if born.cancelled():
                    pass  # the daemon stops, and with it the nursery and this process
                elif said["pid"] is None:
                    born.set_exception(OSError(said["why"]))
                else:
                    born.set_result(said["pid"])
                await asyncio.sleep(0)  # whoever waited for it takes it in before its end is read
            elif (process := self._alive.pop(said["ended"], None)) is not None:
                process.end(said["code"])
                self._on_end()
        await nursery.wait()
        self._lose_all()

    def _lose_all(self) -> None:
        """The nursery is gone, and the kernel has killed its children with it."""
        lost, self._alive = self._alive, {}
        for process in lost.values():
            process.end_group()
            process.end(LOST)
        waiting, self._born = self._born, {}
        for born in waiting.values():
            born.set_exception(ConnectionError("the nursery of bots died"))
        if lost:
            _log.error("the nursery of bots died; its bots are started again", bots=len(lost))
        self._on_end()


def environment(settings: Settings) -> dict[str, str]:
    """The settings in force as variables, and one thread for numeric libraries: a bot has little to compute,
    and ten of them share the machine with the collector."""
    document = settings.model_dump(mode="json", exclude_none=True)
    return {f"TCP_{name.upper()}": str(value) for name, value in document.items()} | {
        "POLARS_MAX_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
        "_RJEM_MALLOC_CONF": "background_thread:false,narenas:2",
        "PYTHONUNBUFFERED": "1",
    }
