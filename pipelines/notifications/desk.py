"""What is told to people, when, and how often. Pure: the time is given, nothing is sent.

The same thing is told once, then at most once in `repeat_s`, with the number of times it happened meanwhile.
In quiet hours errors are told at once, and that they are over; the rest waits and goes out together.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

LEVELS = ("info", "warning", "error")
RESOLVES = {"postgres_back": "postgres_outage", "redis_back": "redis_away", "exchange_back": "exchange_away"}
"""Good news that is told only after its bad news was."""
BACK = "back"
KEPT = 500
"""Notices that wait for an address at most; of more the oldest go."""
MESSAGE = 1_900
"""Characters of a message at most, title included: Discord refuses more than 2,000, Telegram than 4,096."""
_BETWEEN = 2
"""Characters between title and text, where a channel has no titles of its own."""
_NUMBER = re.compile(r"(?<![\w-])\d[\d.,:]*")


class Notice(msgspec.Struct, frozen=True):
    """Something that happened. at_s: wall clock, seconds since the epoch."""

    at_s: float
    level: str
    component: str
    event: str
    message: str

    @property
    def is_urgent(self) -> bool:
        """Told in quiet hours too."""
        return self.level == "error" or self.event == BACK or self.event in RESOLVES

    @property
    def key(self) -> str:
        """The same for the same thing again: numbers that stand alone do not count, names do."""
        return f"{self.component}/{self.event}/{_NUMBER.sub('#', self.message)}"


class Said(msgspec.Struct):
    """What is remembered of a key: when it was told last, the newest notice since, how many there were."""

    at_s: float
    latest: Notice | None = None
    count: int = 0


class Memory(msgspec.Struct):
    """Everything that outlives a restart.

    cursor: id of the last event that was looked at; waiting: what no address was given yet; owed: address
    (its name without secrets) → what it has not taken yet; lasting: bad news that waits for the good one,
    however long that takes; down: components whose silence was told; away_since_s: wall clock since which
    PostgreSQL, or the whole stack, has not been there.
    """

    cursor: int | None = None
    said: dict[str, Said] = {}
    waiting: list[Notice] = []
    owed: dict[str, list[Notice]] = {}
    lasting: set[str] = set()
    down: set[str] = set()
    away_since_s: float | None = None


class Policy(msgspec.Struct, frozen=True):
    """level: least level that is told; quiet: minutes of the UTC day from and to, or None."""

    level: str = "warning"
    repeat_s: float = 1_800
    quiet: tuple[int, int] | None = None

    def is_quiet(self, now_s: float) -> bool:
        """Whether only errors may be told now. A stretch may go over midnight."""
        if self.quiet is None:
            return False
        begin, end = self.quiet
        now = datetime.fromtimestamp(now_s, UTC)
        minute = now.hour * 60 + now.minute
        return begin <= minute < end if begin <= end else minute >= begin or minute < end


class Desk:
    """Takes notices, hands out messages to each address. `memory` is what a restart goes on from."""

    def __init__(self, policy: Policy, memory: Memory, addresses: Sequence[str]) -> None:
        self._policy = policy
        self._addresses = addresses
        self.memory = memory

    def go_on(self, memory: Memory) -> None:
        """From what an earlier process remembered, with what this one has found before it could read that."""
        self._hand_out()  # what an earlier one noted may be owed to addresses that are no more
        early, self.memory = self.memory, memory
        self._hand_out()
        for address, notices in early.owed.items():
            memory.owed[address] += notices
        memory.down |= early.down

    def keep(self, components: Collection[str]) -> None:
        """Forget all but what is about these: another process remembers the rest, and tells it."""

        def kept(notices: Sequence[Notice]) -> list[Notice]:
            return [notice for notice in notices if notice.component in components]

        self.memory = Memory(
            waiting=kept(self.memory.waiting),
            owed={address: kept(notices) for address, notices in self.memory.owed.items()},
            down=self.memory.down & set(components),
            away_since_s=self.memory.away_since_s,
        )

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be told, and nothing wrong that will be over."""
        memory = self.memory
        begun = memory.down or memory.away_since_s is not None
        return not (begun or memory.waiting or any(memory.owed.values()))

    def take(self, notice: Notice) -> None:
        """Something happened: it waits for `due`, or is counted where it was told lately, or is nothing."""
        known = self.memory.said
        if notice.event in RESOLVES:
            wanted = RESOLVES[notice.event] in self.memory.lasting
            self.memory.lasting.discard(RESOLVES[notice.event])
        else:
            wanted = LEVELS.index(notice.level) >= LEVELS.index(self._policy.level)
        if not wanted:
            return
        if notice.event in RESOLVES.values():
            self.memory.lasting.add(notice.event)
        said = known.get(notice.key)
        if said is not None and notice.at_s - said.at_s < self._policy.repeat_s:
            said.latest, said.count = notice, said.count + 1
            return
        known[notice.key] = Said(notice.at_s)
        self.memory.waiting.append(notice)

    def due(self, now_s: float) -> dict[str, list[Notice]]:
        """What each address is to be told now, oldest first; it waits on until `told` is called."""
        quiet = self._policy.is_quiet(now_s)
        self._close_windows(now_s)
        self._hand_out()
        may_go = {
            address: [notice for notice in owed if not quiet or notice.is_urgent]
            for address, owed in self.memory.owed.items()
        }
        return {address: notices for address, notices in may_go.items() if notices}

    def told(self, address: str, notices: Sequence[Notice]) -> None:
        """These have reached the address."""
        self.memory.owed[address] = [one for one in self.memory.owed[address] if one not in notices]

    def _hand_out(self) -> None:
        """To each address all that is new; to one that was added, what one that was taken away never took."""
        before = self.memory.owed
        left = dict.fromkeys(
            notice for name in before if name not in self._addresses for notice in before[name]
        )
        self.memory.owed = {
            name: [*before.get(name, left), *self.memory.waiting][-KEPT:] for name in self._addresses
        }
        self.memory.waiting = []

    def _close_windows(self, now_s: float) -> None:
        """Of what happened again: one line that counts. What did not is forgotten."""
        for key, said in list(self.memory.said.items()):
            if now_s - said.at_s < self._policy.repeat_s:
                continue
            del self.memory.said[key]
            if said.latest is not None:
                again = f"{said.latest.message} ({said.count} more in {_span(now_s - said.at_s)})"
                self.memory.waiting.append(msgspec.structs.replace(said.latest, message=again))
                self.memory.said[key] = Said(now_s)


def fitting(notices: Sequence[Notice], room: int) -> Sequence[Notice]:
    """The first of them, as many as a message of `room` characters holds whole; one at least."""
    count = 1
    while count < len(notices) and _size(notices[: count + 1]) <= room:
        count += 1
    return notices[:count]


def written(notices: Sequence[Notice], room: int = MESSAGE) -> tuple[str, str, str]:
    """Title, text and worst level of one message about all of them; text beyond `room` characters is cut."""
    title, text, worst = _message(notices)
    left = max(1, room - len(title) - _BETWEEN)
    return title, text if len(text) <= left else f"{text[: left - 1]}…", worst


def _size(notices: Sequence[Notice]) -> int:
    title, text, _ = _message(notices)
    return len(title) + _BETWEEN + len(text)


def _message(notices: Sequence[Notice]) -> tuple[str, str, str]:
    worst = max((notice.level for notice in notices), key=LEVELS.index)
    first = notices[0]
    title = f"TCP {worst}: {first.event}" + (f" and {len(notices) - 1} more" if len(notices) > 1 else "")
    lines = [
        f"{datetime.fromtimestamp(notice.at_s, UTC):%Y-%m-%d %H:%M:%S} UTC {notice.level} "
        f"{notice.component}: {notice.message}"
        for notice in notices
    ]
    return title, "\n".join(lines), worst


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def from_event(row: Mapping[str, object], at: datetime) -> Notice:
    """A row of system_events."""
    level = str(row["level"])
    return Notice(
        at.timestamp(),
        level if level in LEVELS else "error",
        str(row["component"]),
        str(row["event"]),
        str(row["message"]),
    )
