"""Several feeds of the same trades side by side: what any of them brings is handed on once."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from core.trades import Trade
from pipelines.exchanges.base import TradeFeed

OnTrades = Callable[[list[Trade]], None]
OnState = Callable[[str, str], None]

KEPT_IDS = 5_000
"""Handed-on trades remembered for each symbol: seconds of a busy market. What a feed brings later still
is told from new trades by its receiver, who de-duplicates by interval as well."""


class Seen:
    """Which trades of one symbol were handed on, by the interval of ids each covers."""

    def __init__(self, kept: int = KEPT_IDS) -> None:
        self._kept = kept
        # Two generations: when the newer one is full the older one is forgotten.
        self._new: set[tuple[int, int]] = set()
        self._old: set[tuple[int, int]] = set()

    def is_new(self, trade: Trade) -> bool:
        """Whether it is here for the first time; it counts as handed on from now on."""
        key = (trade.trade_id, trade.count)
        if key in self._new or key in self._old:
            return False
        if len(self._new) >= self._kept:
            self._old, self._new = self._new, set()
        self._new.add(key)
        return True


class ParallelFeed:
    """`TradeFeed` over several: as long as one of them is live, the trades flow and the state is live.

    A feed that lags only brings what the others brought before. What is told as a state is the whole's:
    `live` with the number of live feeds, `reconnecting` only when none is live any more; the faults of single
    feeds are told as `degraded`, and a planned move of one as `moving`.
    """

    def __init__(self, feeds: Sequence[TradeFeed]) -> None:
        self._feeds = tuple(feeds)
        self._seen: dict[str, Seen] = {}
        self._live: set[int] = set()
        self.duplicates = 0

    async def run(self, symbols: Sequence[str], on_trades: OnTrades, on_state: OnState) -> None:
        """Run all feeds, for ever. An error raised by `on_trades`, or by a feed, ends it."""
        tasks = [
            asyncio.create_task(
                feed.run(
                    symbols,
                    partial(self._trades, on_trades),
                    partial(self._state, on_state, number),
                ),
                name=f"feed {number}",
            )
            for number, feed in enumerate(self._feeds)
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _trades(self, on_trades: OnTrades, trades: list[Trade]) -> None:
        new = [trade for trade in trades if self._seen.setdefault(trade.symbol, Seen()).is_new(trade)]
        self.duplicates += len(trades) - len(new)
        if new:
            on_trades(new)

    def _state(self, on_state: OnState, number: int, state: str, detail: str) -> None:
        was_live = bool(self._live)
        if state == "live":
            self._live.add(number)
        elif state in {"reconnecting", "connecting"}:
            self._live.discard(number)
        count = f"{len(self._live)} of {len(self._feeds)} sockets"
        if state == "live":
            on_state("live", f"{detail} ({count})")
        elif state == "moving":
            on_state("moving", f"socket {number + 1}: {detail} ({count})")
        elif self._live:
            on_state("degraded", f"socket {number + 1}: {state}, {detail} ({count} live)")
        elif was_live or state != "connecting" or number == 0:
            on_state(state, detail)
