"""What goes to one address, and when: pauses while it takes nothing, and what to do with what it refuses.

Nothing tells an address that is away from one that will not have a message. So a notice counts as refused
only where the address takes others at about the same time. From then on it is tried alone, beside all others,
which go on, and when others were taken between its tries again and again it is given up. An address that
takes nothing at all is owed everything.
"""

from collections.abc import Callable, Sequence

import msgspec

from pipelines.notifications.desk import Notice, fitting

FIRST_PAUSE_S = 4.0
SLOWEST_S = 300.0
AGAIN_S = 60.0
"""Between two tries of a notice that was refused; and how lately an address that is there took something."""
REFUSALS = 3
"""Of a notice, after each of which another one was taken; then it is given up."""

Send = Callable[[Sequence[Notice]], bool]


class Outcome(msgspec.Struct, frozen=True):
    """told: what the address took; given_up: what it will never take; tries_again_in_s: None but where it
    seems to be away"""

    told: Sequence[Notice] = ()
    given_up: Sequence[Notice] = ()
    tries_again_in_s: float | None = None


class _Refused(msgspec.Struct):
    """taken: how many messages the address had taken when this was refused last"""

    next_try_s: float
    taken: int
    times: int = 1


class Delivery:
    """To one address. Times are monotonic seconds.

    Parameters
    ----------
    send: tells the address; whether it took that
    room: characters of a message that it takes
    """

    def __init__(self, send: Send, room: int) -> None:
        self._ask = send
        self._room = room
        self._failures = 0
        self._next_try_s = 0.0
        self._taken = 0
        self._took_s = float("-inf")
        self._refused: dict[Notice, _Refused] = {}

    def tell(self, due: Sequence[Notice], now_s: float) -> Outcome:
        """One message of what is due, oldest first, and one of what was refused before, where it is time."""
        self._refused = {notice: known for notice, known in self._refused.items() if notice in due}
        fresh = [notice for notice in due if notice not in self._refused]
        found = self._tell_fresh(fresh, now_s) if fresh and now_s >= self._next_try_s else Outcome()
        if self._failures:
            return found
        again = next((one for one, known in self._refused.items() if now_s >= known.next_try_s), None)
        return found if again is None else self._tell_again(again, found, now_s)

    def _tell_fresh(self, fresh: Sequence[Notice], now_s: float) -> Outcome:
        portion = fresh[:1] if self._failures else fitting(fresh, self._room)
        if self._send(portion, now_s):
            return Outcome(portion)
        if self._failures:
            others = [fresh[1 + (self._failures - 1) % (len(fresh) - 1)]] if len(fresh) > 1 else []
            took_other = bool(others) and self._send(others, now_s)
            if took_other or now_s - self._took_s <= AGAIN_S:
                self._failures, self._next_try_s = 0, 0.0
                self._refused[fresh[0]] = _Refused(now_s + AGAIN_S, self._taken)
                return Outcome(others if took_other else ())
        pause = min(SLOWEST_S, FIRST_PAUSE_S * 2 ** min(self._failures, 10))
        self._failures += 1
        self._next_try_s = now_s + pause
        return Outcome(tries_again_in_s=pause)

    def _tell_again(self, notice: Notice, found: Outcome, now_s: float) -> Outcome:
        known = self._refused[notice]
        if self._send([notice], now_s):
            del self._refused[notice]
            return msgspec.structs.replace(found, told=[*found.told, notice])
        known.next_try_s = now_s + AGAIN_S
        if self._taken > known.taken:
            known.taken, known.times = self._taken, known.times + 1
        if known.times < REFUSALS:
            return found
        del self._refused[notice]
        return msgspec.structs.replace(found, given_up=[notice])

    def _send(self, notices: Sequence[Notice], now_s: float) -> bool:
        if not self._ask(notices):
            return False
        self._failures, self._taken, self._took_s = 0, self._taken + 1, now_s
        return True
