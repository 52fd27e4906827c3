"""What goes wrong, and when: decisions only, taken from a seed; the server carries them out.

`--faults JSON`, all keys optional:

    {"seed": 1,                                   the same seed, the same faults
     "disconnect": {"every_s": 60},               the socket is cut without a close frame
     "silence": {"every_s": 60, "for_s": 20},     data is lost for a while, pings are still answered
     "notice": {"every_s": 900, "for_s": 60},     notice 64008, and the connection closed for_s later
     "duplicate": 0.01,                           share of data frames sent twice
     "reorder": 0.01,                             … sent after the next one
     "gap": 0.01,                                 … never sent
     "garbage": 0.01,                             … followed by one that is no valid JSON
     "http_429": 0.05, "http_500": 0.01,          share of REST requests refused
     "order_lost_request": 0.01,                  share of order operations that never arrive: no answer
     "order_lost_answer": 0.01,                   … that are carried out, and the answer is lost
     "order_reject": 0.01,                        … that fail with sCode 50026
     "order_429": 0.01,                           … refused with 50011
     "order_timeout_s": 5}                        seconds until the connection of a lost REST request is cut

POST the same document to /sim/faults (application/json) to change the faults of a running server.

Order operations are signed POST requests and the WebSocket's order, cancel-order, amend-order and batch-….
On the WebSocket a lost answer is no answer, on a connection that goes on. `duplicate` and the other shares of
data frames hold for pushes of orders and balances too.

Times are wall seconds between two faults of a kind on one connection: the average, each 50 to 150 % of it.
"""

import random
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from core.errors import BadInput

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Every(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault that comes back: on average every `every_s` s, lasting `for_s` s."""

    every_s: Annotated[float, msgspec.Meta(gt=0)]
    for_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class FaultPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which faults happen how often; see the module's text."""

    seed: int = 0
    disconnect: Every | None = None
    silence: Every | None = None
    notice: Every | None = None
    duplicate: Share = 0.0
    reorder: Share = 0.0
    gap: Share = 0.0
    garbage: Share = 0.0
    http_429: Share = 0.0
    http_500: Share = 0.0
    order_lost_request: Share = 0.0
    order_lost_answer: Share = 0.0
    order_reject: Share = 0.0
    order_429: Share = 0.0
    order_timeout_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Action(StrEnum):
    """What the server has to do with a connection now."""

    CUT = "cut"
    NOTICE = "notice"
    CLOSE = "close"


def parse_faults(document: Mapping[str, Any]) -> FaultPlan:
    """The plan of a JSON object; BadInput names the wrong key or value."""
    try:
        return msgspec.convert(dict(document), FaultPlan)
    except msgspec.ValidationError as error:
        raise BadInput("faults", str(error)) from None


class ConnectionFaults:
    """Decides for one connection; `ordinal` is its number since the server's start, times are seconds."""

    def __init__(self, plan: FaultPlan, ordinal: int, now: float) -> None:
        self._plan = plan
        self._random = random.Random(f"{plan.seed}/{ordinal}")
        self._held: bytes | None = None
        self._close_at: float | None = None
        self._cut_at = self._next(plan.disconnect, now)
        self._notice_at = self._next(plan.notice, now)
        self._silent_from = self._next(plan.silence, now)

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
        actions = []
        if self._notice_at is not None and now >= self._notice_at and self._plan.notice:
            actions.append(Action.NOTICE)
            self._close_at = now + self._plan.notice.for_s
            self._notice_at = None
        if self._close_at is not None and now >= self._close_at:
            actions.append(Action.CLOSE)
            self._close_at = None
        if self._cut_at is not None and now >= self._cut_at:
            actions.append(Action.CUT)
            self._cut_at = None
        return actions

    def _silent(self, now: float) -> bool:
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

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._random = random.Random(f"{plan.seed}/rest")

    def status(self) -> int:
        """200, or the HTTP status to refuse the next request with."""
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


class OrderFaults:
    """Decides about order operations, in the order of their arrival."""

    def __init__(self, plan: FaultPlan) -> None:
        self.timeout_s = plan.order_timeout_s
        self._shares = (
            (OrderFault.LOST_REQUEST, plan.order_lost_request),
            (OrderFault.LOST_ANSWER, plan.order_lost_answer),
            (OrderFault.REJECT, plan.order_reject),
            (OrderFault.TOO_MANY, plan.order_429),
        )
        self._random = random.Random(f"{plan.seed}/orders")

    def draw(self) -> OrderFault:
        """The fate of the next operation."""
        drawn = self._random.random()
        for fault, share in self._shares:
            if drawn < share:
                return fault
            drawn -= share
        return OrderFault.NONE
