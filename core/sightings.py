"""Which trades of one symbol were seen, where ids only tell one trade from another and show no holes."""

import math
from collections.abc import Iterable, Sequence

from core.continuity import Continuity, Gap
from core.trades import Trade

KEPT_IDS = 50_000
"""Ids remembered to tell new trades from repeated ones; what is older than these counts as repeated."""
OPEN_END_MS = 1 << 62


class Sightings(Continuity):
    """Passes each id on once, in any order, and knows one kind of gap: an interruption, told from outside,
    from the last trade before it until it is told that everything since then was asked for.

    Ids grow with the time of the trades. `gaps` holds one gap while there is an interruption; its ids and
    its size mean nothing. first_after_ms: time of the first trade that came after it
    """

    def __init__(self, last_id: int | None = None, last_ms: int = 0, kept: int = KEPT_IDS) -> None:
        super().__init__(last_id, last_ms)
        self.first_after_ms: int | None = None
        self._kept = self._most = kept
        self._seen: set[int] = set()
        self._forgotten_id = -1 if last_id is None else last_id

    def take(self, trades: Iterable[Trade]) -> list[Trade]:
        """The trades that are new, in the order given."""
        new = []
        for trade in trades:
            if trade.trade_id <= self._forgotten_id or trade.trade_id in self._seen:
                self.duplicates += 1
                continue
            self._seen.add(trade.trade_id)
            self.last_id = max(self.last_id or 0, trade.trade_id)
            self.last_ms = max(self.last_ms, trade.timestamp_ms)
            new.append(trade)
        if new and self.gaps and self.first_after_ms is None:
            self.first_after_ms = new[0].timestamp_ms
        if len(self._seen) > self._most:
            self._forget()
        return new

    def interrupt(self) -> None:
        """From the last trade on some may be missing, until `resume`; in a second interruption before that,
        from where the first one began."""
        if not self.gaps:
            next_id = (self.last_id or 0) + 1
            self.gaps = [Gap(next_id, next_id, self.last_ms, OPEN_END_MS)]
        self.first_after_ms = None

    def resume(self, through: Trade | None = None) -> None:
        """All trades since the interruption were handed in, or all through this one."""
        if through is None:
            self.gaps = []
        else:
            next_id = through.trade_id + 1
            self.gaps = [Gap(next_id, next_id, through.timestamp_ms, OPEN_END_MS) for _ in self.gaps]

    def contradicts(self, trades: Sequence[Trade]) -> bool:
        """Whether these, said to be all since the interruption, oldest first, lack a trade that was seen in
        their time: then the same trades go by other ids there, and each would count twice."""
        if not trades:
            return False
        ids = {trade.trade_id for trade in trades}
        known = {
            gap.first_id - 1 for gap in self.gaps if gap.after_ms <= trades[-1].timestamp_ms
        } & self._seen
        low, high = trades[0].trade_id, trades[-1].trade_id
        inside = (trade_id for trade_id in self._seen if low < trade_id < high)
        return not ids.issuperset(known) or not ids.issuperset(inside)

    def _forget(self) -> None:
        """All but the newer half of what is kept, and what may come again to fill an interruption."""
        bound = self.gaps[0].first_id if self.gaps else math.inf
        surplus = len(self._seen) - self._kept // 2
        old = sorted(trade_id for trade_id in self._seen if trade_id < bound)[:surplus]
        if old:
            self._seen.difference_update(old)
            self._forgotten_id = old[-1]
        self._most = len(self._seen) + self._kept // 2
