"""Trades and candles that come late, or by one way only: who knows what at which virtual time.

What happens to a trade depends on the seed, its symbol and its time, never on who asks or when: all
connections and REST agree, and so does a repeated run.
"""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipelines.exchanges.sim.clock import Speed
from pipelines.exchanges.sim.days import MINUTE_MS, DayTrades, Flags, Ints
from pipelines.exchanges.sim.fault_plan import NO_FAULTS, FaultPlan
from pipelines.exchanges.sim.path import mix

NEVER = np.int64(1 << 62)
_LATE, _UNPUSHED, _REVISED, _UNCONFIRMED = range(4)


class Delays:
    """The faults of a plan that concern the market itself, in virtual ms.

    speed: virtual seconds a wall second, by which the plan's wall seconds are stretched; "max" counts as 1
    """

    def __init__(self, speed: Speed = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._scale = 1000 * (1.0 if speed == "max" else speed)
        self._monotonic = monotonic
        self._started = monotonic()
        self.version = 0
        self.set_plan(NO_FAULTS)

    def set_plan(self, plan: FaultPlan) -> None:
        """From now on other faults. A trade that was to come late and has not come is REST's alone then."""
        self._plan = plan
        self.version += 1
        self.rest_lag_ms = self._ms(plan.rest_lag_s)
        self.late_ms = self._ms(plan.late.by_s) if plan.late else 0
        self._revised_ms = self._ms(plan.revised_candle.by_s) if plan.revised_candle else 0

    @property
    def moves_pushes(self) -> bool:
        """Whether some trades are not pushed when they happen."""
        return self._plan.late is not None or self._plan.unpushed > 0

    @property
    def hidden_ms(self) -> int:
        """A match that is older than this is known to all."""
        revised = self._revised_ms + MINUTE_MS if self._revised_ms else 0
        return max(self.late_ms, revised)

    def told_ms(self, now_ms: int) -> int:
        """The time that REST tells at a virtual time."""
        clock = self._plan.clock
        if clock is None:
            return now_ms
        phase = (self._monotonic() - self._started) / clock.every_s % 1
        wave = 4 * abs((phase + 0.75) % 1 - 0.5) - 1  # 0 at first, then up to 1, down to -1, and back
        return now_ms + self._ms(clock.ahead_s + clock.drift_s * wave)

    def pushed_ms(self, symbol: str, ts: Ints) -> Ints:
        """When the sockets bring trades of these times; NEVER for those they do not."""
        plan = self._plan
        pushed = ts.copy()
        if plan.late is not None:
            pushed[self._drawn(_LATE, symbol, ts) < plan.late.share] += self.late_ms
        if plan.unpushed:
            pushed[self._drawn(_UNPUSHED, symbol, ts) < plan.unpushed] = NEVER
        return pushed

    def known(self, symbol: str, ts: Ints, as_of_ms: int) -> Flags:
        """Which trades of these times are known at a virtual time (REST's lag taken off)."""
        known = ts <= as_of_ms
        if self._plan.late is not None:
            late = self._drawn(_LATE, symbol, ts) < self._plan.late.share
            known &= ~late | (ts + self.late_ms <= as_of_ms)
        return known

    def hidden(self, symbol: str, trades: DayTrades, as_of_ms: int) -> Flags:
        """Which of these matches, whole minutes of them, the exchange's candles leave out."""
        hidden = ~self.known(symbol, trades.ts, as_of_ms)
        revised = self._plan.revised_candle
        if revised is not None and len(trades):
            minutes = trades.ts - trades.ts % MINUTE_MS
            last = np.append(minutes[1:] != minutes[:-1], True)
            closes = minutes + MINUTE_MS
            waits = (closes <= as_of_ms) & (as_of_ms < closes + self._revised_ms)
            hidden |= last & waits & (self._drawn(_REVISED, symbol, minutes) < revised.share)
        return hidden

    def confirmed(self, symbol: str, bar: str, opens: Ints, closes: Ints, now_ms: int) -> Flags:
        """Which candles of a length are told as complete."""
        late = self._plan.late_candle
        if late is None:
            return closes <= now_ms
        delayed = self._drawn(_UNCONFIRMED, f"{symbol} {bar}", opens) < late.share
        return np.where(delayed, closes + self._ms(late.by_s), closes) <= now_ms

    def _ms(self, wall_s: float) -> int:
        return int(wall_s * self._scale)

    def _drawn(self, what: int, key: str, times: Ints) -> NDArray[np.float64]:
        """A number in [0, 1) for each of these times (splitmix64)."""
        bits = times.astype(np.uint64) ^ np.uint64(mix(self._plan.seed, what, *key.encode()))
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((bits ^ (bits >> np.uint64(31))) >> np.uint64(11)) / np.float64(1 << 53)
