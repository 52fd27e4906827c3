"""The watcher: reads events, sees what cannot report itself (see states), and tells people."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from core.clock import Clock
from pipelines.notifications.channels import Channels
from pipelines.notifications.delivery import Delivery
from pipelines.notifications.desk import BACK, Desk, Memory, Notice, Policy, from_event, written
from pipelines.notifications.notebook import Notebook
from pipelines.notifications.states import Changes, states
from pipelines.warehouse.database import is_outage
from pipelines.warehouse.health import beat, record_event
from pipelines.warehouse.lock import NOTIFY_LOCK, DaemonLock
from pipelines.warehouse.notices import events_after, last_number, newest_event, read_memory, write_memory

LOOK_S = 2.0
SILENT_S = 60.0
"""A daemon or a database that does not answer for so long is told; a restart takes less."""
BEAT_S = 30
_OWN = ("database", "stack")
"""Components that each host tells of for itself: without PostgreSQL hosts cannot agree who does."""
REFUSED = "notice_refused"
"""Event: an address took others, and one notice never."""
_log = structlog.get_logger("notify")


class Watcher:
    """What dies need not report its own death. Of several watchers of a database, one on each host, one has
    the place (an advisory lock) and tells; the others see whether PostgreSQL answers, and take over.

    notebook: what is remembered while the database is away; silent_s: see SILENT_S; monotonic: seconds, by
    which addresses that take nothing are tried again
    """

    def __init__(
        self,
        engine: Engine,
        channels: Channels,
        policy: Policy,
        clock: Clock,
        notebook: Notebook,
        silent_s: float = SILENT_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._channels = channels
        self._clock = clock
        self._silent_s = silent_s
        self._monotonic = monotonic
        self._notebook = notebook
        self._desk = Desk(policy, notebook.read(), channels.names())
        self._changes = Changes()
        self._place = DaemonLock(engine, NOTIFY_LOCK)
        self._stands_by = False
        self._stored: bytes | None = None
        self._deliveries = {
            name: Delivery(partial(self._send, name), channels.room(name)) for name in channels.names()
        }
        self._beats_at_s = 0.0

    def run(self, stopping: Callable[[float], bool]) -> None:
        """Look every two seconds until `stopping`, which waits so many seconds, says so."""
        try:
            while True:
                self.look()
                if stopping(LOOK_S):
                    return
        finally:
            self.close()

    def close(self) -> None:
        """Leave the place to another."""
        self._place.release()

    def look(self) -> None:
        """Take in what is new, tell what is due, remember it."""
        now_s = self._clock.now_ms() / 1000
        try:
            if self._has_place():
                self._read_events()
                self._watch_states(now_s)
                self._beat()
            self._over("database", "PostgreSQL answers again", now_s)
            self._over("stack", "`tcp up` has started", now_s)
            self._desk.memory.away_since_s = None
        except SQLAlchemyError as error:
            self._stored = None  # another one may tell until it is back
            self._database_away(now_s, error)
        self._tell(now_s)
        self._remember()

    def not_started(self, reason: str) -> None:
        """`tcp up` ended before anybody could watch: why is told where that has lasted over its tries."""
        now_s = self._clock.now_ms() / 1000
        self._away(now_s, "stack", "down", f"`tcp up` does not start: {reason}")
        self._tell(now_s)
        self._notebook.write(msgspec.json.encode(self._desk.memory))

    def _has_place(self) -> bool:
        """Whether it is ours to tell what the database knows; then all is read that was told so far."""
        if self._place.hold():
            if self._stands_by:
                _log.info("takes over")
            self._stands_by = False
            if self._stored is None:
                self._go_on()
            return True
        if not self._stands_by:
            _log.info("standing by")
        self._stands_by, self._stored, self._changes = True, None, Changes()
        self._desk.keep(_OWN)
        return False

    def _go_on(self) -> None:
        """From where the last one stopped, if the notebook does not know better; the first of all begins with
        what comes next."""
        stored, memory = self._read_stored()
        noted = self._desk.memory.cursor
        if noted is None or (memory.cursor or 0) > noted:
            if memory.cursor is None:
                memory.cursor = newest_event(self._engine)
            self._desk.keep(_OWN)
            self._desk.go_on(memory)
        self._stored = stored or b""

    def _read_stored(self) -> tuple[bytes | None, Memory]:
        stored = read_memory(self._engine)
        return stored, Memory() if stored is None else msgspec.json.decode(stored, type=Memory)

    def _read_events(self) -> None:
        memory = self._desk.memory
        last = last_number(self._engine)
        if (memory.cursor or 0) > last:
            # Restored from a backup, or another one: it gives these ids again, to what nobody was told.
            stored = self._read_stored()[1].cursor
            memory.cursor = min(last, newest_event(self._engine) if stored is None else stored)
        for number, at, row in events_after(self._engine, memory.cursor or 0):
            self._desk.take(from_event(row, at))
            memory.cursor = number

    def _watch_states(self, now_s: float) -> None:
        for component, state in states(self._engine, round(now_s * 1000), self._silent_s).items():
            was_wrong = component in self._desk.memory.down
            words = self._changes.words(component, state, was_wrong, now_s)
            if words is not None and was_wrong:
                self._over(component, words, now_s)
            elif words is not None:
                self._wrong(component, state.event, words, now_s)

    def _beat(self) -> None:
        """That somebody watches is watched too: by Prometheus, and by whoever looks at the page System."""
        if time.monotonic() >= self._beats_at_s:
            beat(self._engine, "notify", self._clock.now_ms(), None, {"every_s": BEAT_S, "pid": os.getpid()})
            self._beats_at_s = time.monotonic() + BEAT_S

    def _database_away(self, now_s: float, error: Exception) -> None:
        is_away = not isinstance(error, DBAPIError) or is_outage(error)
        state = "does not answer" if is_away else "answers with an error"
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        self._away(now_s, "database", "silent", f"PostgreSQL {state}: {reason}")

    def _away(self, now_s: float, component: str, event: str, message: str) -> None:
        """Remembered over restarts, which may come more often than what is told after so long."""
        memory = self._desk.memory
        memory.away_since_s = memory.away_since_s or now_s
        if now_s - memory.away_since_s >= self._silent_s:
            self._wrong(component, event, message, now_s)

    def _wrong(self, component: str, event: str, message: str, now_s: float) -> None:
        if component not in self._desk.memory.down:
            self._desk.memory.down.add(component)
            self._desk.memory.waiting.append(Notice(now_s, "error", component, event, message))

    def _over(self, component: str, words: str, now_s: float) -> None:
        if component in self._desk.memory.down:
            self._desk.memory.down.discard(component)
            self._desk.memory.waiting.append(Notice(now_s, "info", component, BACK, words))

    def _tell(self, now_s: float) -> None:
        """Each address for itself: one that takes nothing keeps nothing from others, and misses nothing.

        One message a look, of what fits into it: the next look tells the rest.
        """
        for name, due in self._desk.due(now_s).items():
            outcome = self._deliveries[name].tell(due, self._monotonic())
            self._desk.told(name, [*outcome.told, *outcome.given_up])
            for notice in outcome.given_up:
                self._give_up(name, notice)
            if outcome.tries_again_in_s is not None:
                again = round(outcome.tries_again_in_s)
                _log.error("not taken", channel=name, waiting=len(due), tries_again_in_s=again)

    def _send(self, name: str, notices: Sequence[Notice]) -> bool:
        return self._channels.send(name, *written(notices, self._channels.room(name)))

    def _give_up(self, name: str, notice: Notice) -> None:
        """An event says so to all, without what was refused; but for an event that said so."""
        _log.error("refused", channel=name, event_refused=notice.event, component=notice.component)
        if notice.event == REFUSED:
            return
        lost = f"{name} takes others, but not {notice.event} of {notice.component}: it is not told there"
        try:
            record_event(self._engine, "warning", "notify", REFUSED, lost)
        except SQLAlchemyError as error:
            _log.warning("not recorded", reason=str(error).split("\n")[0])

    def _remember(self) -> None:
        """A kill before this tells the last message twice, never not at all."""
        now = msgspec.json.encode(self._desk.memory)
        if self._desk.memory.away_since_s is None and self._stored is not None:
            try:
                if now != self._stored:
                    write_memory(self._engine, now)
                    self._stored = now
                self._notebook.clear()
                return
            except SQLAlchemyError as error:
                _log.warning("not remembered", reason=str(error).split("\n")[0])
        if self._stands_by and self._desk.is_idle:
            self._notebook.clear()
        else:
            self._notebook.write(now)
