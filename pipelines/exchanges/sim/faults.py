"""What goes wrong, and when: decisions only, taken from a seed; the server carries them out (`fault_plan.py`
lists the faults)."""

import random
from enum import StrEnum

from pipelines.exchanges.sim.fault_plan import Every, FaultPlan
from pipelines.exchanges.sim.fault_script import Script


class Action(StrEnum):
    """What the server has to do with a connection now."""

    CUT = "cut"
    NOTICE = "notice"
    CLOSE = "close"


class ConnectionFaults:
    """Decides for one connection; `ordinal` is its number since the server's start, times are seconds."""

    def __init__(self, plan: FaultPlan, ordinal: int, now: float, script: Script | None = None) -> None:
        self._plan = plan
        self._script = script
        self._random = random.Random(f"{plan.seed}/{ordinal}")
        self._held: bytes | None = None
        self._close_at: float | None = None
        self._cut_at = self._next(plan.disconnect, now)
        self._notice_at = self._next(plan.notice, now)
        self._silent_from = self._next(plan.silence, now)
        self._freezes_at = self._next(plan.half_open, now)
        self.is_half_open = False

    def frames(self, frame: bytes, now: float) -> list[bytes]:
        """What to send in place of a data frame, in order."""
        if self._silent(now):
            return []
        plan = self._plan
        out: list[bytes] = []
        if not self._happens(plan.gap):
            out.append(frame)
        if out and self._happens(plan.duplicate):
            out.append(frame)
        held, self._held = self._held, None
        if out and held is None and self._happens(plan.reorder):
            self._held = out.pop()
        if held is not None:
            out.append(held)
        if self._happens(plan.garbage):
            out.append(frame[: len(frame) // 2])
        return out

    def due(self, now: float) -> list[Action]:
        """Actions whose time has come; each is reported once."""
        plan, actions = self._plan, []
        if self._freezes_at is not None and now >= self._freezes_at and plan.half_open:
            self.freeze(now, plan.half_open.for_s)
            self._freezes_at = None
        if self._notice_at is not None and now >= self._notice_at and plan.notice:
            self._notice_at = None
            actions.append(self.warn(now, plan.notice.for_s))
        if self._close_at is not None and now >= self._close_at:
            actions.append(Action.CLOSE)
            self._close_at = None
        if self._cut_at is not None and now >= self._cut_at:
            actions.append(Action.CUT)
            self._cut_at = None
        return actions

    def warn(self, now: float, for_s: float) -> Action:
        """Announce the end, and let it come `for_s` later."""
        self._close_at = now + for_s
        return Action.NOTICE

    def freeze(self, now: float, for_s: float) -> None:
        """From now on half open; cut `for_s` later, or never if that is 0."""
        self.is_half_open = True
        self._cut_at = now + for_s if for_s else None
        self._notice_at = self._close_at = None

    def _silent(self, now: float) -> bool:
        if self._script is not None and self._script.covers("silence"):
            return True
        if self._silent_from is None or self._plan.silence is None or now < self._silent_from:
            return False
        if now < self._silent_from + self._plan.silence.for_s:
            return True
        self._silent_from = self._next(self._plan.silence, now)
        return False

    def _next(self, fault: Every | None, now: float) -> float | None:
        return None if fault is None else now + fault.every_s * self._random.uniform(0.5, 1.5)

    def _happens(self, share: float) -> bool:
        return share > 0 and self._random.random() < share


class RequestFaults:
    """Decides which REST requests are refused."""

    def __init__(self, plan: FaultPlan, script: Script | None = None) -> None:
        self._plan = plan
        self._script = script
        self._random = random.Random(f"{plan.seed}/rest")

    def status(self) -> int:
        """200, or the HTTP status to refuse the next request with."""
        if self._script is not None and self._script.covers("http_429"):
            return 429
        if self._script is not None and self._script.covers("http_500"):
            return 500
        drawn = self._random.random()
        if drawn < self._plan.http_429:
            return 429
        return 500 if drawn < self._plan.http_429 + self._plan.http_500 else 200


class OrderFault(StrEnum):
    """What happens to one order operation."""

    NONE = "none"
    LOST_REQUEST = "lost request"
    LOST_ANSWER = "lost answer"
    REJECT = "reject"
    TOO_MANY = "too many"
    LATE = "late"
    PARTIAL = "partial"


class OrderFaults:
    """Decides about order operations, in the order of their arrival."""

    def __init__(self, plan: FaultPlan) -> None:
        self.timeout_s = plan.order_timeout_s
        self.late_by_s = plan.order_late.by_s if plan.order_late else 0.0
        self._shares = (
            (OrderFault.LOST_REQUEST, plan.order_lost_request),
            (OrderFault.LOST_ANSWER, plan.order_lost_answer),
            (OrderFault.REJECT, plan.order_reject),
            (OrderFault.TOO_MANY, plan.order_429),
            (OrderFault.LATE, plan.order_late.share if plan.order_late else 0.0),
            (OrderFault.PARTIAL, plan.order_partial),
        )
        self._random = random.Random(f"{plan.seed}/orders")
        self._late_push = plan.late_push
        self._push_random = random.Random(f"{plan.seed}/pushes")

    def draw(self) -> OrderFault:
        """The fate of the next operation."""
        drawn = self._random.random()
        for fault, share in self._shares:
            if drawn < share:
                return fault
            drawn -= share
        return OrderFault.NONE

    def push_delay_s(self) -> float:
        """How late the next push of an account comes."""
        late = self._late_push
        return late.by_s if late is not None and self._push_random.random() < late.share else 0.0
