"""Chunks on this machine: one after the other, each on all cores."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import polars as pl

from pipelines.backtest.candles import Stretch
from pipelines.sweep.search import Chunk
from pipelines.sweep.space import Space
from pipelines.sweep.walker import Walker

READY = 2
"""Markets that are kept ready: what a year of minutes needs is 0.3 GB each."""

Within = Callable[[Chunk, int], None]


class Executor(Protocol):
    """Walks chunks."""

    def walk(self, chunks: Iterable[Chunk], within: Within) -> Iterator[tuple[Chunk, pl.DataFrame]]:
        """Each chunk with its rows, in any order; within(chunk, done) is called along the way, if at all."""
        ...


class Local:
    """One chunk after the other."""

    def __init__(self, space: Space, pieces: Sequence[Stretch], windows: Sequence[int]) -> None:
        self._space, self._pieces, self._windows = space, pieces, windows
        self._ready: OrderedDict[int, Walker] = OrderedDict()

    def walk(self, chunks: Iterable[Chunk], within: Within) -> Iterator[tuple[Chunk, pl.DataFrame]]:
        """See `Executor.walk`."""
        for chunk in chunks:
            yield chunk, self._walker(chunk.market).table(chunk.points, _bound(within, chunk))

    def _walker(self, market: int) -> Walker:
        if market not in self._ready:
            while len(self._ready) >= READY:
                self._ready.popitem(last=False)
            request = self._space.request.markets[market]
            self._ready[market] = Walker(self._space, request, self._pieces[market], self._windows[market])
        self._ready.move_to_end(market)
        return self._ready[market]


def _bound(within: Within, chunk: Chunk) -> Callable[[int], None]:
    return lambda done: within(chunk, done)
