"""The order book of one symbol, kept from pushes, and proof by sequence that none was missed."""

import heapq
from decimal import Decimal, InvalidOperation
from enum import StrEnum

import msgspec

from pipelines.exchanges.okx.frames import Book, Level

PriceLevel = tuple[Decimal, Decimal]
"""(price, size)"""

MOST_LEVELS = 1_000
"""More levels of a side than this are cut down to the best `KEPT_LEVELS`: OKX's books have 400."""
KEPT_LEVELS = 400

_ZERO, _TOO_LARGE = Decimal(0), Decimal(10) ** 20


class Applied(StrEnum):
    """What a push did to the book."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"  # a heartbeat, or a push that came twice
    WAITING = "waiting"  # an increment, and no snapshot yet
    BROKEN = "broken"  # a push was missed, or is no book: a new snapshot is needed


class Top(msgspec.Struct, frozen=True):
    """The best levels of a book, best first, at `timestamp_ms` of the exchange."""

    symbol: str
    timestamp_ms: int
    sequence: int | None
    bids: list[PriceLevel]
    asks: list[PriceLevel]


class OrderBook:
    """Snapshots replace it; an increment is applied only when it follows what was applied before.

    OKX numbers the states of a book: an increment leads from `prevSeqId` to `seqId`. Both equal and no levels
    is a heartbeat; after maintenance `seqId` may be smaller than `prevSeqId`, once, and the chain goes on
    from there. Pushes without numbers, of recordings before 2023, are taken in order.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.bids: dict[Decimal, Level] = {}
        self.asks: dict[Decimal, Level] = {}
        self.timestamp_ms = 0
        self.sequence: int | None = None
        self.is_ready = False
        self._previous: int | None = None

    def snapshot(self, book: Book) -> Applied:
        """Replace everything."""
        if not _is_possible(book):
            return self._broken()
        self.bids = {level.price: level for level in book.bids}
        self.asks = {level.price: level for level in book.asks}
        return self._changed(book)

    def update(self, book: Book) -> Applied:
        """Apply an increment; after a BROKEN one the book waits for a snapshot."""
        if not self.is_ready:
            return Applied.WAITING
        if book.seq_id is not None:
            if (book.prev_seq_id, book.seq_id) == (self._previous, self.sequence):
                return Applied.UNCHANGED
            if book.prev_seq_id != self.sequence:
                return self._broken()
        if not _is_possible(book):
            return self._broken()
        for side, levels in ((self.bids, book.bids), (self.asks, book.asks)):
            for level in levels:
                if level.size:
                    side[level.price] = level
                else:
                    side.pop(level.price, None)
        heartbeat = not book.bids and not book.asks
        return self._changed(book, Applied.UNCHANGED if heartbeat else Applied.CHANGED)

    def top(self, depth: int) -> Top:
        """The best `depth` levels of each side."""
        bids = [(price, self.bids[price].size) for price in heapq.nlargest(depth, self.bids)]
        asks = [(price, self.asks[price].size) for price in heapq.nsmallest(depth, self.asks)]
        return Top(self.symbol, self.timestamp_ms, self.sequence, bids, asks)

    def reset(self) -> None:
        """Forget everything: what comes next must be a snapshot."""
        self.bids, self.asks = {}, {}
        self.sequence = self._previous = None
        self.is_ready = False

    def _changed(self, book: Book, outcome: Applied = Applied.CHANGED) -> Applied:
        if len(self.bids) > MOST_LEVELS:
            self.bids = {price: self.bids[price] for price in heapq.nlargest(KEPT_LEVELS, self.bids)}
        if len(self.asks) > MOST_LEVELS:
            self.asks = {price: self.asks[price] for price in heapq.nsmallest(KEPT_LEVELS, self.asks)}
        self.timestamp_ms = book.timestamp_ms
        self._previous, self.sequence = book.prev_seq_id, book.seq_id
        self.is_ready = True
        return outcome

    def _broken(self) -> Applied:
        self.reset()
        return Applied.BROKEN


def _is_possible(book: Book) -> bool:
    """Whether all prices and sizes are numbers that a book can have: a decimal can also be made of NaN, which
    cannot be compared."""
    try:
        for side in (book.bids, book.asks):
            for level in side:
                if not (_ZERO < level.price < _TOO_LARGE and _ZERO <= level.size < _TOO_LARGE):
                    return False
    except InvalidOperation:
        return False
    return True
