"""The process that trades for real: `python -m live.brokers.process`, started by the daemon.

The only one that knows the keys. It reads which orders to send from the database, so the bots need neither
the keys nor the exchange. Exit codes: 0 stopped, 2 settings or keys are wrong, 1 anything else.
"""

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from config.real_orders import BROKER_OF, keys_file, why_off
from config.settings import Settings, settings
from core.errors import BadInput, TcpError
from live.bots.lifeline import tie_to_parent
from live.bots.threads import uninterrupted
from live.brokers.codes import FAILED, STOPPED, UNUSABLE
from live.brokers.executor import Executor
from live.brokers.submission import Patience
from pipelines.bus.redis import RedisBus
from pipelines.clock import SystemClock
from pipelines.exchanges.connect import make_trading
from pipelines.exchanges.okx.keys import Keys, forget_keys, load_keys
from pipelines.logs import configure_logs
from pipelines.warehouse.database import SERVICE_ANSWER_S
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import Level, beat, record_event
from pipelines.warehouse.lock import ORDERS_LOCK, DaemonLock

COMPONENT = "orders"
BEAT_S = 1.0

_log = structlog.get_logger("orders")


def main(patience: Patience | None = None) -> int:
    """Send orders until SIGTERM or SIGINT; the exit code."""
    tie_to_parent()
    in_force = settings()
    configure_logs(in_force.log_level)
    try:
        broker = BROKER_OF.get(in_force.real_orders, "")
        if reason := why_off(in_force, broker or "okx"):
            raise BadInput("TCP_REAL_ORDERS", reason)
        keys = load_keys(keys_file(in_force))
    except BadInput as error:
        _say(in_force, str(error))
        return UNUSABLE
    forget_keys()
    _hide_in_logs(keys)
    try:
        asyncio.run(_trade(in_force, broker, keys, patience))
    except TcpError as error:
        _say(in_force, keys.hidden(str(error)))
        return UNUSABLE if isinstance(error, BadInput) else FAILED
    except Exception as error:
        sys.stderr.write(keys.hidden("".join(traceback.format_exception(error))))
        return FAILED
    return STOPPED


async def _trade(in_force: Settings, broker: str, keys: Keys, patience: Patience | None) -> None:
    engine = engine_of(in_force.database_url or "", SERVICE_ANSWER_S)
    lock = DaemonLock(engine, ORDERS_LOCK)
    if not await asyncio.to_thread(lock.hold):
        raise TcpError("another process sends the orders of this database")
    bus, wall = RedisBus(in_force.redis_url or ""), SystemClock()
    account = make_trading(in_force, keys)
    events = _Events(engine, keys)
    executor = Executor(broker, account, engine, bus, wall, events.tell, patience)
    work = asyncio.create_task(_together(executor, engine, wall, lock, events))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await work
    except BaseExceptionGroup as group:
        raise _first(group) from None
    finally:
        lock.release()
        await account.close()
        await bus.close()


async def _together(
    executor: Executor, engine: Engine, wall: SystemClock, lock: DaemonLock, events: "_Events"
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(executor.run(), name="executor")
        group.create_task(events.run(), name="events")
        while True:
            details = {"pid": os.getpid(), **executor.health()}
            try:
                await uninterrupted(beat, engine, COMPONENT, wall.now_ms(), None, details)
                if not await uninterrupted(lock.hold):
                    raise TcpError("another process took over the orders of this database")
            except SQLAlchemyError as error:
                _log.warning("no heartbeat", error=str(error).partition("\n")[0])
            await asyncio.sleep(BEAT_S)


class _Events:
    """Events to the log at once, and to system_events when the database takes them."""

    def __init__(self, engine: Engine, keys: Keys) -> None:
        self._engine = engine
        self._keys = keys
        self._queue: asyncio.Queue[tuple[Level, str, str]] = asyncio.Queue(1000)

    def tell(self, level: str, event: str, message: str) -> None:
        """Log, and keep for `run`; with a thousand waiting the newest is only logged."""
        known: Level = "error" if level == "error" else "warning" if level == "warning" else "info"
        message = self._keys.hidden(message)
        getattr(_log, known)(event, message=message)
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait((known, event, message))

    async def run(self) -> None:
        """Store, for ever."""
        while True:
            level, event, message = await self._queue.get()
            try:
                await uninterrupted(record_event, self._engine, level, COMPONENT, event, message)
            except SQLAlchemyError as error:
                _log.warning("event not stored", event_name=event, error=str(error).partition("\n")[0])


def _first(error: BaseException) -> BaseException:
    """What ended a group of tasks."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _hide_in_logs(keys: Keys) -> None:
    """Nothing that is logged here has a key in it, whatever it quotes."""

    def hide(_logger: Any, _name: str, line: Any) -> Any:
        return keys.hidden(line) if isinstance(line, str) else line

    structlog.configure(processors=[*structlog.get_config()["processors"], hide])


def _say(in_force: Settings, message: str) -> None:
    """Why there is nobody to send orders: for the log, and for `tcp doctor`."""
    sys.stderr.write(f"{message}\n")
    details: Mapping[str, Any] = {"pid": os.getpid(), "problem": message}
    with contextlib.suppress(SQLAlchemyError):
        engine = engine_of(in_force.database_url or "", SERVICE_ANSWER_S)
        beat(engine, COMPONENT, SystemClock().now_ms(), None, details)


if __name__ == "__main__":
    sys.exit(main())
