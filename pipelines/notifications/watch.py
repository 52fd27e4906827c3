"""The watcher: reads events, sees what cannot report itself (see states), and tells people."""

import os
import time
from collections import Counter
from collections.abc import Callable

import msgspec
import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from core.clock import Clock
from pipelines.notifications.channels import Channels
from pipelines.notifications.desk import BACK, Desk, Memory, Notice, Policy, fitting, from_event, written
from pipelines.notifications.states import Changes, states
from pipelines.warehouse.health import beat
from pipelines.warehouse.notices import events_after, newest_event, read_memory, write_memory

LOOK_S = 2.0
SILENT_S = 60.0
"""A daemon or a database that does not answer for so long is told; a restart takes less."""
SLOWEST_S = 300.0
BEAT_S = 30
_log = structlog.get_logger("notify")


class Watcher:
    """One process watches a database; what dies need not report its own death."""

    def __init__(
        self, engine: Engine, channels: Channels, policy: Policy, clock: Clock, silent_s: float = SILENT_S
    ) -> None:
        self._engine = engine
        self._channels = channels
        self._clock = clock
        self._silent_s = silent_s
        self._desk = Desk(policy, Memory(), channels.names())
        self._changes = Changes()
        self._stored: bytes | None = None
        self._away_since_s: float | None = None
        self._failures: Counter[str] = Counter()
        self._next_try_s: dict[str, float] = {}
        self._beats_at_s = 0.0

    def run(self, stopping: Callable[[float], bool]) -> None:
        """Look every two seconds until `stopping`, which waits so many seconds, says so."""
        while True:
            self.look()
            if stopping(LOOK_S):
                return

    def look(self) -> None:
        """Take in what is new, tell what is due, remember it."""
        now_s = self._clock.now_ms() / 1000
        try:
            if self._stored is None:
                self._go_on()
            self._read_events()
            self._watch_states(now_s)
            self._over("database", "PostgreSQL answers again", now_s)
            self._beat()
            self._away_since_s = None
        except SQLAlchemyError as error:
            self._database_away(now_s, error)
        self._tell(now_s)
        self._remember()

    def _go_on(self) -> None:
        """From where the last one stopped; the first of all begins with what comes next."""
        stored = read_memory(self._engine)
        memory = Memory() if stored is None else msgspec.json.decode(stored, type=Memory)
        if memory.cursor is None:
            memory.cursor = newest_event(self._engine)
        self._desk.go_on(memory)
        self._stored = stored or b""

    def _read_events(self) -> None:
        memory = self._desk.memory
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
        self._away_since_s = self._away_since_s or now_s
        if now_s - self._away_since_s >= self._silent_s:
            reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
            self._wrong("database", "silent", f"PostgreSQL does not answer: {reason}", now_s)

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
            if time.monotonic() < self._next_try_s.get(name, 0):
                continue
            room = self._channels.room(name)
            portion = fitting(due, room)
            if self._channels.send(name, *written(portion, room)):
                self._desk.told(name, portion)
                self._failures.pop(name, None)
                continue
            pause = min(SLOWEST_S, LOOK_S * 2 ** min(self._failures[name] + 1, 10))
            self._failures[name] += 1
            self._next_try_s[name] = time.monotonic() + pause
            _log.error("not taken", channel=name, waiting=len(due), tries_again_in_s=pause)

    def _remember(self) -> None:
        """A kill before this tells the last message twice, never not at all."""
        if self._stored is None:
            return
        now = msgspec.json.encode(self._desk.memory)
        if now != self._stored:
            try:
                write_memory(self._engine, now)
                self._stored = now
            except SQLAlchemyError as error:
                _log.warning("not remembered", reason=str(error).split("\n")[0])
