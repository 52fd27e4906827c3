"""In what order combinations are tried, and which: all, some by chance, or some by what was learned."""

from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from core.errors import BadInput
from pipelines.sweep.axes import Points
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.space import Space

BLOCK = 200_000
"""Points that are looked at by the constraints at once."""
IDLE = 1_000
"""Draws for each combination wanted after which a search gives up on finding another valid one."""


class Chunk(NamedTuple):
    """A piece of work: points of the space on one market. number: its place in the whole sweep; covers:
    points that are done with it, those that the constraints dropped included."""

    number: int
    market: int
    points: Points
    covers: int


class Search(Protocol):
    """Yields rounds of chunks. The chunks of a round can be walked in any order; all of them are told to
    `learn` before the next round is asked for."""

    total: int
    dropped: int

    def rounds(self) -> Iterable[Iterable[Chunk]]:
        """The work."""
        ...

    def learn(self, chunk: Chunk, table: pl.DataFrame) -> None:
        """What came out of a chunk."""
        ...

    learns: bool


class GridSearch:
    """Every combination, market by market."""

    learns = False

    def __init__(self, space: Space, markets: int, chunk: int) -> None:
        self._space, self._markets, self._chunk = space, markets, chunk
        self.total = space.size * markets
        self.dropped = 0

    def rounds(self) -> Iterator[Iterator[Chunk]]:
        """One round of all chunks; a chunk has as many valid points as fit."""
        yield self._chunks()

    def learn(self, chunk: Chunk, table: pl.DataFrame) -> None:
        """A grid needs to know nothing."""

    def _chunks(self) -> Iterator[Chunk]:
        number = 0
        for market in range(self._markets):
            waiting, covered = np.empty(0, np.int64), 0
            for begin in range(0, self._space.size, BLOCK):
                block = np.arange(begin, min(begin + BLOCK, self._space.size), dtype=np.int64)
                held = block[self._space.valid(block)]
                self.dropped += block.size - held.size
                waiting, covered = np.concatenate((waiting, held)), covered + block.size
                while waiting.size >= self._chunk:
                    ready, waiting = waiting[: self._chunk], waiting[self._chunk :]
                    yield Chunk(number, market, ready, covered - waiting.size)
                    number, covered = number + 1, waiting.size
            if waiting.size or covered:
                yield Chunk(number, market, waiting, covered)
                number += 1


class RandomSearch:
    """Different valid combinations, each as likely as any other; the same on every market."""

    learns = False

    def __init__(self, space: Space, markets: int, chunk: int, draws: int, seed: int) -> None:
        self._points, self.dropped = drawn(space, draws, seed)
        self._markets, self._chunk = markets, chunk
        self.total = self._points.size * markets

    def rounds(self) -> Iterator[Iterator[Chunk]]:
        """One round of all chunks."""
        yield self._chunks()

    def learn(self, chunk: Chunk, table: pl.DataFrame) -> None:
        """Chance needs to know nothing."""

    def _chunks(self) -> Iterator[Chunk]:
        number = 0
        for market in range(self._markets):
            for begin in range(0, self._points.size, self._chunk):
                points = self._points[begin : begin + self._chunk]
                yield Chunk(number, market, points, points.size)
                number += 1


def drawn(space: Space, count: int, seed: int) -> tuple[Points, int]:
    """Up to `count` different valid points in the order they were drawn, and how many draws the constraints
    dropped. BadInput when none is found."""
    if space.size <= BLOCK:
        every = np.arange(space.size, dtype=np.int64)
        held = every[space.valid(every)]
        found = np.random.default_rng(seed).permutation(held)[:count]
        dropped = space.size - held.size
    else:
        found, dropped = _sampled(space, count, Random(seed))
    if not found.size:
        raise BadInput("grid", f"no valid combination among {dropped:,} that were looked at")
    return found, dropped


def _sampled(space: Space, count: int, chance: Random) -> tuple[Points, int]:
    found: dict[int, None] = {}
    dropped = looked_at = 0
    while len(found) < count and looked_at < IDLE * count:
        draw = np.array([chance.randrange(space.size) for _ in range(max(count, 100))], np.int64)
        held = space.valid(draw)
        looked_at, dropped = looked_at + draw.size, dropped + int(draw.size - held.sum())
        found.update(dict.fromkeys(draw[held].tolist()))
    return np.array(list(found)[:count], np.int64), dropped


def search_of(space: Space, request: SweepRequest, chunk: int) -> Search:
    """The search that a request asks for, with chunks of that many combinations.

    There is nothing to learn where the draws cover the space: Optuna would mostly propose what it has seen.
    """
    markets = len(request.markets)
    if request.search == "grid":
        return GridSearch(space, markets, chunk)
    if request.search == "random" or request.draws >= space.size:
        return RandomSearch(space, markets, chunk, request.draws, request.seed)
    from pipelines.sweep.optuna_search import OptunaSearch

    return OptunaSearch(space, markets, request)
