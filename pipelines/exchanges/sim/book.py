"""A synthetic order book around the last trade: the same for everybody who asks at the same virtual time."""

from dataclasses import dataclass

import numpy as np

from pipelines.exchanges.sim.days import Ints
from pipelines.exchanges.sim.history import History
from pipelines.exchanges.sim.specs import SymbolSpec

_LEVEL_LIVES_MS = 3_000  # how long a level keeps its size


@dataclass(frozen=True)
class Book:
    """One state of the book. bids, asks: price in ticks → (size in lots, orders), best first."""

    bids: dict[int, tuple[int, int]]
    asks: dict[int, tuple[int, int]]
    ts: int
    seq_id: int

    def rest_row(self, spec: SymbolSpec) -> dict[str, object]:
        """The row of `GET /market/books` and of the snapshot channels."""
        return {
            "asks": levels(spec, self.asks),
            "bids": levels(spec, self.bids),
            "ts": str(self.ts),
            "seqId": self.seq_id,
        }

    def top(self, depth: int) -> "Book":
        """The best levels only."""
        bids, asks = list(self.bids.items())[:depth], list(self.asks.items())[:depth]
        return Book(dict(bids), dict(asks), self.ts, self.seq_id)


def levels(spec: SymbolSpec, side: dict[int, tuple[int, int]]) -> list[list[str]]:
    """[price, size, "0", orders] of each level."""
    return [
        [spec.price_text(ticks), spec.size_text(lots), "0", str(orders)]
        for ticks, (lots, orders) in side.items()
    ]


def changes(old: dict[int, tuple[int, int]], new: dict[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """The levels that differ; a level that is gone has size and orders 0."""
    changed = {ticks: level for ticks, level in new.items() if old.get(ticks) != level}
    return changed | {ticks: (0, 0) for ticks in old if ticks not in new}


def snapshot(history: History, spec: SymbolSpec, now_ms: int, depth: int) -> Book:
    """The book as of now, `depth` levels a side (fewer where prices would fall to zero)."""
    last = history.newest_trades(spec.symbol, now_ms, 1)
    if not len(last):
        return Book({}, {}, now_ms, 0)
    price, buy = int(last.price[0]), bool(last.buy[0])
    ask = price if buy else price + spec.spread_ticks
    bid = price - spec.spread_ticks if buy else price
    steps = np.arange(depth, dtype=np.int64)
    epoch = now_ms // _LEVEL_LIVES_MS
    return Book(_side(spec, bid - steps, epoch), _side(spec, ask + steps, epoch), now_ms, int(last.ids[0]))


def _side(spec: SymbolSpec, prices: Ints, epoch: int) -> dict[int, tuple[int, int]]:
    prices = prices[prices > 0]
    # a level changes its size at a moment of its own, so that only some levels change between two books
    shifted = (epoch + prices % 7) // 7
    bits = prices.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ shifted.astype(np.uint64)
    bits = (bits ^ (bits >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    share = (bits >> np.uint64(40)).astype(np.float64) / (1 << 24)
    lots = np.maximum((share**3 * 20 + 0.1) * spec.mean_size * 10**spec.lot_decimals, 1).astype(np.int64)
    orders = (1 + share * 12).astype(np.int64)
    return dict(zip(prices.tolist(), zip(lots.tolist(), orders.tolist(), strict=True), strict=True))
