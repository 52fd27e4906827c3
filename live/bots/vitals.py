"""Whether a bot's process is well: its heartbeat, its memory, its processor time."""

from dataclasses import dataclass

import msgspec

from config.settings import Settings

START_S = 60.0
"""Time a bot has until its first heartbeat."""
FREE_S_A_CANDLE = 0.25
"""Processor time that each judged candle excuses: catching up after an outage is work."""


class Limits(msgspec.Struct, frozen=True):
    """When the supervisor acts.

    look_s: longest time between two looks at what is wanted
    stop_s: time a bot has to end by itself
    last_words_s: time a condemned bot has to write down where it stands
    reading_s: time to read the files of bots, which loads every strategy of the user's folder
    hung_s: without a heartbeat for so long a bot counts as hung
    memory_bytes: resident memory past which a bot counts as leaking; healthy ones stay near 130 MB
    free_share: of a core: a bot that uses less than this is never too busy; healthy ones use a hundredth
    busy_s, burn_s: processor seconds beyond what is free, candles included (see above), after which a bot
        gives way to all others, and after which it counts as burning
    restarts: of a bot that died, within an hour
    """

    look_s: float = 2.0
    stop_s: float = 5.0
    last_words_s: float = 0.5
    reading_s: float = 60.0
    hung_s: float = 30.0
    memory_bytes: int = 600_000_000
    free_share: float = 0.1
    busy_s: float = 10.0
    burn_s: float = 60.0
    restarts: int = 3

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """As the environment says."""
        return cls(
            hung_s=settings.bot_silence_s,
            memory_bytes=settings.bot_memory_mb * 1_000_000,
            restarts=settings.bot_restarts,
        )


class Sign(msgspec.Struct, frozen=True):
    """What one look at a process shows. Times in seconds.

    at: of the event loop's clock; silent_s: since the last heartbeat, None before the first
    judged: candles since the look before
    """

    at: float
    silent_s: float | None
    memory_bytes: int
    processor_s: float
    judged: int


@dataclass
class Vitals:
    """What is remembered of one process from look to look. born: by the event loop's clock

    burnt_s: processor seconds beyond what was free; it drains while the process is quiet
    """

    limits: Limits
    born: float
    burnt_s: float = 0.0
    last: Sign | None = None

    @property
    def is_busy(self) -> bool:
        """Whether others should have the processor before it."""
        return self.burnt_s > self.limits.busy_s

    def complaint(self, sign: Sign, reachable_since: float | None) -> str | None:
        """What is wrong, in words for people; None when all is well.

        reachable_since: since when heartbeats could be written; None while the database is away
        """
        self._burn(sign)
        limits = self.limits
        if self._is_hung(sign, reachable_since):
            return f"hung: no heartbeat for {limits.hung_s:g} s"
        if sign.memory_bytes > limits.memory_bytes:
            used, most = sign.memory_bytes // 1_000_000, limits.memory_bytes // 1_000_000
            return f"used {used} MB of memory, more than {most} MB"
        if self.burnt_s > limits.burn_s:
            share = f"{limits.free_share * 100:g} % of a core"
            return f"burnt {self.burnt_s:.0f} s of processor time beyond {share} and its candles"
        return None

    def _burn(self, sign: Sign) -> None:
        if self.last is not None:
            free_s = self.limits.free_share * (sign.at - self.last.at) + FREE_S_A_CANDLE * sign.judged
            self.burnt_s = max(0.0, self.burnt_s + sign.processor_s - self.last.processor_s - free_s)
        self.last = sign

    def _is_hung(self, sign: Sign, reachable_since: float | None) -> bool:
        # While the database is away nobody can write a heartbeat, and afterwards they need a moment.
        if reachable_since is None or sign.at - reachable_since < self.limits.hung_s:
            return False
        if sign.at - self.born < (START_S if sign.silent_s is None else self.limits.hung_s):
            return False
        return sign.silent_s is None or sign.silent_s > self.limits.hung_s
