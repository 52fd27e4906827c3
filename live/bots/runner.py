"""The process of one bot: `python -m live.bots.runner BOT_NAME`.

Started by the supervisor; by hand it works the same. Exit codes: live.bots.runner_codes.
"""

import asyncio
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Callable

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from config.files import ConfigError
from config.settings import Settings, settings
from core.bot_states import Actual, Desired
from core.errors import BadInput, Unavailable
from live.bots.bot import Bot
from live.bots.faults import is_away, said
from live.bots.inbox import Inbox
from live.bots.lifeline import is_orphan, tie_to_parent
from live.bots.memory import limit_memory, without_limit
from live.bots.messages import Message, status_message
from live.bots.outbox import Outbox
from live.bots.runner_codes import CRASHED, LAST_WORDS, ORPHANED, STOPPED, UNUSABLE, UNWANTED
from live.bots.stopwatch import Stopwatch
from pipelines.bus.redis import RedisBus
from pipelines.clock import SystemClock
from pipelines.logs import configure_logs
from pipelines.warehouse.bot_ledger import Conflict
from pipelines.warehouse.bot_versions import note_applied
from pipelines.warehouse.bots import find_bot, record_crash, record_state
from pipelines.warehouse.database import SERVICE_ANSWER_S
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import record_event

TICK_S = 2.0
"""Longest time between two looks at the database: heartbeat, status, candles missed on the bus."""
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
MOST_CONFLICTS = 10
SLOW_AGAIN_MS = 3_600_000
"""After which a slow strategy is told again."""

_log = structlog.get_logger("bot")


class Runner:
    """Feeds a bot from the bus and the database, and reports on it.

    Parameters
    ----------
    settings: with database_url and redis_url resolved
    name: of the bot
    """

    def __init__(self, settings: Settings, name: str) -> None:
        self._name = name
        self._clock = SystemClock()
        self._engine: Engine = engine_of(settings.database_url or "", SERVICE_ANSWER_S, tested=False)
        self._bus = RedisBus(settings.redis_url or "")
        self._outbox = Outbox(self._bus)
        self._row = find_bot(self._engine, name)
        self._stopwatch = Stopwatch(settings.bot_judgement_s)
        self._told_slow_ms = -SLOW_AGAIN_MS
        self._bot = Bot(self._row, self._engine, self._clock, self._outbox.put, self._stopwatch.judging)
        self._inbox = Inbox(self._bus, name, self._bot.symbol, self._bot.timeframe, self._bot.takes_books)
        self._wanted = self._row.status
        self._state = self._row.state
        self._judged = -1
        self._is_behind = False
        self._stopping = self._unwanted = False
        self._failures = 0
        self._conflicts = 0

    async def run(self) -> int:
        """Until stopped; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        tasks = [asyncio.create_task(self._inbox.run()), asyncio.create_task(self._outbox.run())]
        try:
            return await self._loop()
        finally:
            await self._outbox.flush()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._bus.close()

    async def _loop(self) -> int:
        due = 0.0
        loop = asyncio.get_running_loop()
        while not self._stopping:
            if is_orphan():
                return ORPHANED
            if loop.time() >= due or self._inbox.nudged:
                self._inbox.nudged = False
                due = loop.time() + (0 if await self._guarded(self._tick) else TICK_S)
            elif not await self._guarded(self._handle):
                await self._inbox.wait(due - loop.time())
            await asyncio.sleep(0)
        return UNWANTED if self._unwanted else STOPPED

    async def _guarded(self, step: Callable[[], bool]) -> bool:
        """Run a step. A database that is away is waited for, and then everything is read again: whether the
        last commit arrived is not known."""
        try:
            if self._failures or self._conflicts:
                self._bot.restore()
            more = step()
            self._failures = self._conflicts = 0
        except Conflict as conflict:
            self._conflicts += 1
            if self._conflicts > MOST_CONFLICTS:
                raise
            _log.info("reads its rows again", bot=self._name, reason=str(conflict))
            self._inbox.nudged = True  # somebody changed something: see first what is wanted now
            return True
        except SQLAlchemyError as error:
            if not is_away(error):
                raise
            if not self._failures:
                _log.warning("waits for the database", bot=self._name, error=said(error))
            pause = BACK_OFF_S[min(self._failures, len(BACK_OFF_S) - 1)]
            self._failures += 1
            self._inbox.clear()
            await self._inbox.sleep(pause)
            return True
        return more

    def _tick(self) -> bool:
        """Heartbeat, what is wanted, and stored candles that did not come over the bus."""
        self._wanted = self._bot.beat()
        self._tell_slow()
        if self._wanted in {Desired.STOPPED, Desired.ERROR}:
            self._unwanted = True
            self._stop()
            return False
        target = Actual.PAUSED if self._wanted is Desired.PAUSED else Actual.RUNNING
        if self._state is not target:
            self._enter(target)
        if self._wanted is not Desired.ACTIVE:
            return False
        judged, self._judged = self._judged, self._bot.judged
        if self._bot.judged != judged and not self._is_behind:
            return False  # the bus works
        self._inbox.drop_running()
        self._is_behind = self._bot.catch_up()
        return self._is_behind

    def _tell_slow(self) -> None:
        """An event for a strategy that is slow but not too slow, once an hour."""
        took_s, now_ms = self._stopwatch.slowest_s, self._clock.now_ms()
        self._stopwatch.slowest_s = None
        if took_s is None or now_ms - self._told_slow_ms < SLOW_AGAIN_MS:
            return
        self._told_slow_ms = now_ms
        message = f"the strategy of bot {self._name} took {took_s:.1f} s over one candle"
        record_event(self._engine, "warning", "bots", "bot_slow", message)

    def _handle(self) -> bool:
        """The next message, if there is one."""
        update = self._inbox.next()
        book = self._inbox.next_book() if update is None else None
        if update is None and book is None:
            return False
        if self._wanted is Desired.ACTIVE and self._state is Actual.RUNNING:
            if update is not None:
                self._bot.on_update(update)
            elif book is not None:
                self._bot.on_book(book)
        return True

    def _enter(self, target: Actual) -> None:
        if self._state in {Actual.STOPPED, Actual.CRASHED, Actual.ERROR}:  # started by hand
            record_state(self._engine, self._row.id, Actual.STARTING)
        record_state(self._engine, self._row.id, target, pid=os.getpid())
        self._state = target
        self._bot.restore()
        note_applied(self._engine, self._row.id, self._row.config_version)
        message: Message = status_message(self._name, self._wanted.value, target.value, None, None, "state")
        self._outbox.put(message)
        _log.info("state", bot=self._name, state=target.value)

    def _stop(self) -> None:
        self._stopping = True
        self._inbox.wake()

    def record(self, error: BaseException) -> None:
        """Keep a crash, if the database can be reached; the supervisor sees the exit code in any case."""
        trace = "".join(traceback.format_exception(error))
        try:
            record_crash(self._engine, self._row.id, self._clock.now_ms(), CRASHED, _summary(error), trace)
        except SQLAlchemyError as failure:
            _log.error("cannot store the crash", bot=self._name, error=said(failure))


def _summary(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def main() -> int:
    """Run the bot named on the command line; the exit code."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m live.bots.runner BOT_NAME\n")
        return UNUSABLE
    code = run_bot(sys.argv[1])
    return STOPPED if code == UNWANTED else code


def run_bot(name: str) -> int:
    """Be the bot of that name until it is stopped; the exit code."""
    tie_to_parent()
    faulthandler.enable()
    faulthandler.register(LAST_WORDS, all_threads=True)
    limit_memory(settings().bot_memory_mb * 1_000_000)
    configure_logs(settings().log_level)
    return asyncio.run(_run(name))


async def _run(name: str) -> int:
    try:
        runner = await _start(name)
    except (BadInput, ConfigError) as error:
        sys.stderr.write(f"{error}\n")
        return UNUSABLE
    try:
        return await runner.run()
    except Exception as error:
        with without_limit():
            runner.record(error)
            traceback.print_exception(error)
        return CRASHED


async def _start(name: str) -> Runner:
    """The runner, once the database answers."""
    for attempt in range(1_000_000):
        try:
            return Runner(settings(), name)
        except (SQLAlchemyError, Unavailable) as error:
            if isinstance(error, SQLAlchemyError) and not is_away(error):
                raise
            if is_orphan():
                sys.exit(ORPHANED)
            await asyncio.sleep(BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)])
    raise Unavailable("the database never answered")


if __name__ == "__main__":
    sys.exit(main())
