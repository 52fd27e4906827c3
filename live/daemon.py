"""The live daemon: one process that collects market data and keeps the bots running."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Awaitable, Coroutine
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from config.settings import Settings
from core.errors import TcpError
from core.timeframes import Timeframe
from live.books import make_book_keeper
from live.brokers.supervise import keep_sending
from live.collector.collector import Collector
from live.collector.spool import Spool
from live.disks import Disks
from live.health import Events, keep_beating
from live.heap import give_back
from live.quality import QualityRecorder
from live.risk_watch import RiskWatch
from pipelines.bus.base import Bus
from pipelines.bus.redis import RedisBus
from pipelines.clock import ExchangeClock, SystemClock
from pipelines.exchanges.connect import make_feed, make_rest
from pipelines.exchanges.measured import Connections
from pipelines.logs import configure_logs
from pipelines.warehouse import database
from pipelines.warehouse.backups import ask_for_backups
from pipelines.warehouse.lock import DaemonLock
from pipelines.warehouse.spool import database_id

LOCK_CHECK_S = 2.0
STANDBY_CHECK_S = 1.0
STOP_S = 4.0
"""Longest wait for the parts to end, the collector apart, which takes the time to have everything safe."""
CLOSE_S = 0.5
"""Longest wait for each of what is closed after them, and for threads whose server does not answer."""

_log = structlog.get_logger("daemon")


def run(settings: Settings, standby: bool = False) -> None:
    """Run until SIGTERM or SIGINT, which end it cleanly within 5 s.

    standby: wait while another daemon runs on the database, and take over when it is gone.
    The URLs in `settings` are resolved and the database is migrated. BadInput when it is not, or when another
    daemon runs on it; Unavailable when it does not answer; any other exception is a crash of a part, for a
    supervisor to restart.
    """
    if settings.database_url is None or settings.redis_url is None:
        raise ValueError("database_url and redis_url must be resolved")
    configure_logs(settings.log_level)
    give_back()
    database.check_schema(settings.database_url)
    timeframes = [Timeframe.parse(name, "TCP_TIMEFRAMES") for name in settings.timeframe_list]
    with asyncio.Runner() as runner:
        with contextlib.suppress(asyncio.CancelledError):
            runner.run(_live(settings, settings.database_url, settings.redis_url, timeframes, standby))
        _end_without_threads()


async def _live(
    settings: Settings, database_url: str, redis_url: str, timeframes: list[Timeframe], standby: bool
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    engine = database.engine(database_url, database.SERVICE_ANSWER_S)
    lock = DaemonLock(engine)
    if standby:
        await _wait_for_lock(lock, stopping)
        if stopping.is_set():
            return
    elif not await asyncio.to_thread(lock.hold):
        raise TcpError(
            "another live daemon runs on this database: stop it first (`tcp down`), or wait for its end with "
            "`tcp live --standby`"
        )
    bus, rest = RedisBus(redis_url), make_rest(settings)
    wall, clock = SystemClock(), ExchangeClock()
    events = Events(engine, bus, wall)
    connections = Connections(clock)
    await asyncio.to_thread(ask_for_backups, engine)
    collector = Collector(
        settings.symbol_list,
        timeframes,
        rest,
        make_feed(settings, connections),
        engine,
        bus,
        clock,
        wall,
        settings.history_days,
        events.tell,
        Spool(settings.home / "spool" / await asyncio.to_thread(database_id, engine)),
        settings.unkept_symbols,
        settings.refill_ids,
        confirm=lock.confirm,
    )
    quality = QualityRecorder(connections, lambda: getattr(rest, "url", ""), engine, clock, wall)
    books, disks = make_book_keeper(settings, bus), Disks(settings)
    events.tell("info", "started", f"collecting {settings.symbols}")

    def details() -> dict[str, Any]:
        return {**collector.health(), **quality.health(), **disks.health(), "books": books.health()}

    try:
        await _until(
            stopping,
            essential={
                "collector": collector.run(),
                "bots": _supervise_bots(settings, engine, bus),
                "lock": _keep_lock(lock),
            },
            helping={
                "events": events.run(),
                "heartbeat": keep_beating(engine, wall, clock, details),
                "quality": quality.run(),
                "books": books.run(),
                "disks": disks.run(),
                "orders": keep_sending(settings, events.tell),
                "risk": RiskWatch(settings, engine, clock, events.tell).run(),
            },
        )
    finally:
        for closing in (asyncio.to_thread(lock.release), rest.close(), bus.close()):
            await _at_most(CLOSE_S, closing)


async def _until(
    stopping: asyncio.Event,
    essential: dict[str, Coroutine[Any, Any, None]],
    helping: dict[str, Coroutine[Any, Any, None]],
) -> None:
    """Run all parts until `stopping` is set, or until one of them ends, whose error is raised: a supervisor
    that starts the daemon again mends what a part that is gone would not."""
    tasks = {name: asyncio.create_task(part, name=name) for name, part in (essential | helping).items()}
    stop = asyncio.create_task(stopping.wait(), name="stop")
    try:
        done, _ = await asyncio.wait({stop, *tasks.values()}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
        await _end(tasks)
    failures = [error for task in tasks.values() if (error := failure(task)) is not None]
    ended = [task for task in tasks.values() if task in done]
    for task in ended:
        _log.error("a part of the daemon ended", part=task.get_name())
    if failures:
        raise failures[0]
    if stop not in done:
        raise RuntimeError(f"{', '.join(task.get_name() for task in ended)} ended by itself")
    _log.info("stopped")


async def _end(tasks: dict[str, "asyncio.Task[None]"]) -> None:
    """Cancel all and wait for them, for a server that hangs not longer than the collector needs to have what
    it received on disk: all the others may be killed at any time."""
    for task in tasks.values():
        task.cancel()
    collecting = [task for name, task in tasks.items() if name == "collector"]
    _, left = await asyncio.wait(tasks.values(), timeout=STOP_S)
    if collecting:
        await asyncio.wait(collecting)
    for task in left:
        _log.warning("not waited for", part=task.get_name())


def failure(task: "asyncio.Task[None]") -> Exception | None:
    """What the part failed with, if it has."""
    error = task.exception() if task.done() and not task.cancelled() else None
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # a group of tasks that one of them ended: known errors have one line
    return error if isinstance(error, Exception) else None


async def _at_most(seconds: float, closing: Awaitable[None]) -> None:
    """Wait for it, but not longer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await closing


def _end_without_threads() -> None:
    """Python ends a process when its threads have ended. One that waits for a server that hangs may take
    long, and has nothing left that it could lose."""
    last = threading.Timer(CLOSE_S, os._exit, [0])
    last.daemon = True
    last.start()


async def _wait_for_lock(lock: DaemonLock, stopping: asyncio.Event) -> None:
    """Ask every second until the lock is ours, or we are stopped. A database that is away is waited for."""
    _log.info("standing by")
    while not stopping.is_set():
        with contextlib.suppress(SQLAlchemyError):
            if await asyncio.to_thread(lock.hold):
                _log.info("takes over")
                return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), STANDBY_CHECK_S)


async def _supervise_bots(settings: Settings, engine: Engine, bus: Bus) -> None:
    from live.bots.supervisor import BotSupervisor

    await BotSupervisor(settings, engine, bus).run()


async def _keep_lock(lock: DaemonLock) -> None:
    """See every two seconds that this is still the only daemon."""
    while True:
        await asyncio.sleep(LOCK_CHECK_S)
        try:
            held = await asyncio.to_thread(lock.hold)
        except SQLAlchemyError:
            continue
        if not held:
            raise TcpError("another live daemon took over this database")
