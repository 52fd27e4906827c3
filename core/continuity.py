"""The unbroken sequence of trade ids of one symbol: what is new, what came twice, what is missing."""

from collections.abc import Iterable

import msgspec

from core.trades import Trade

GIVEN_UP_KEPT = 1_000
"""So many ranges of ids that were given up are remembered, to be recognised if they come after all."""


class Gap(msgspec.Struct):
    """Ids first_id … last_id were never seen. They lie after a trade of time `after_ms`, before one of
    `before_ms`."""

    first_id: int
    last_id: int
    after_ms: int
    before_ms: int

    @property
    def size(self) -> int:
        """Number of missing ids."""
        return self.last_id - self.first_id + 1


class Continuity:
    """Takes trades in any order and any number of times, and passes each id on once.

    A published trade covers `count` ids up to its `trade_id`; the next one must begin right after it. What
    is skipped becomes a gap, and trades that arrive later and lie wholly inside a gap are new. An aggregate
    of which a part was seen cannot be cut, because nobody says how its size is spread over its matches: it
    is left out, and the ids it would have brought stay a gap, to be asked for one by one.
    """

    def __init__(self, last_id: int | None = None, last_ms: int = 0) -> None:
        self.last_id = last_id
        self.last_ms = last_ms
        self.gaps: list[Gap] = []
        self.given_up: list[Gap] = []
        self.duplicates = 0

    def take(self, trades: Iterable[Trade]) -> list[Trade]:
        """The trades that are new, in the order given; `gaps` is brought up to date."""
        new = []
        for trade in trades:
            # The usual case, here and not in a call of its own: this runs for every trade there is.
            if trade.trade_id - trade.count == self.last_id:
                self.last_id = trade.trade_id
                if trade.timestamp_ms > self.last_ms:
                    self.last_ms = trade.timestamp_ms
                new.append(trade)
            elif self._is_new(trade):
                new.append(trade)
        return new

    def blocks_within(self, open_ms: int, close_ms: int) -> bool:
        """Whether a missing trade may have happened in [open_ms, close_ms)."""
        return any(gap.after_ms < close_ms and gap.before_ms >= open_ms for gap in self.gaps)

    def missing_within(self, first_id: int, last_id: int) -> list[Gap]:
        """What of these ids is still missing."""
        return [gap for gap in self.gaps if gap.first_id <= last_id and first_id <= gap.last_id]

    def give_up(self, first_id: int, last_id: int) -> None:
        """Take these ids off the list of missing ones: they do not exist, or are not to be had. Should one
        of them come after all, it is new."""
        for gap in list(self.gaps):
            low, high = max(first_id, gap.first_id), min(last_id, gap.last_id)
            if low <= high:
                _fill(self.gaps, gap, low, high)
                self.given_up.append(Gap(low, high, gap.after_ms, gap.before_ms))
        del self.given_up[:-GIVEN_UP_KEPT]

    def insert(self, gap: Gap) -> None:
        """Take note of a gap from before the first trade that was seen here."""
        self.gaps.append(gap)
        self.gaps.sort(key=lambda known: known.first_id)

    def _is_new(self, trade: Trade) -> bool:
        first_id = trade.trade_id - trade.count + 1
        if self.last_id is None or first_id == self.last_id + 1:
            self.last_id = trade.trade_id
            self.last_ms = max(self.last_ms, trade.timestamp_ms)
            return True
        if trade.trade_id > self.last_id:
            return self._skip_ahead(trade, first_id)
        for gaps in (self.gaps, self.given_up):
            for gap in gaps:
                if gap.first_id <= first_id and trade.trade_id <= gap.last_id:
                    _fill(gaps, gap, first_id, trade.trade_id, trade.timestamp_ms)
                    return True
        self.duplicates += 1
        return False

    def _skip_ahead(self, trade: Trade, first_id: int) -> bool:
        assert self.last_id is not None
        whole = first_id > self.last_id
        gap_end = first_id - 1 if whole else trade.trade_id
        self.gaps.append(Gap(self.last_id + 1, gap_end, self.last_ms, trade.timestamp_ms))
        self.last_id = trade.trade_id
        self.last_ms = max(self.last_ms, trade.timestamp_ms)
        return whole


def _fill(gaps: list[Gap], gap: Gap, first_id: int, last_id: int, at_ms: int | None = None) -> None:
    """Cut first_id … last_id out of a gap that holds them; what is left of it stays missing.

    at_ms: time of the trade that fills them: what is left happened before or after it
    """
    rest = []
    if gap.first_id < first_id:
        before_ms = gap.before_ms if at_ms is None else min(gap.before_ms, at_ms)
        rest.append(Gap(gap.first_id, first_id - 1, gap.after_ms, before_ms))
    if last_id < gap.last_id:
        after_ms = gap.after_ms if at_ms is None else max(gap.after_ms, at_ms)
        rest.append(Gap(last_id + 1, gap.last_id, after_ms, gap.before_ms))
    index = gaps.index(gap)
    gaps[index : index + 1] = rest
