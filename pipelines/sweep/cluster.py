"""Chunks on a Dask cluster: the same work and the same rows as on this machine."""

import logging
import socket
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import polars as pl

from core.errors import BadInput, TcpError, Unavailable
from pipelines.backtest.candles import Stretch
from pipelines.sweep.axes import Points
from pipelines.sweep.local import READY, Within
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.search import Chunk
from pipelines.sweep.sources import source_mark
from pipelines.sweep.space import Space
from pipelines.sweep.walker import Walker

CONNECT_S = 5
AHEAD = 2
"""Chunks that wait at each worker, so that none is idle while a result travels."""
MOST_LOSSES = 5
"""Times a chunk is sent again after a worker was lost with it."""


@dataclass(frozen=True)
class Market:
    """What a worker needs of a market; sent once, kept there. mark: of the strategy's source."""

    request: dict[str, Any]
    number: int
    piece: Stretch
    window: int
    mark: str

    def walker(self) -> Walker:
        """The market made ready. BadInput when the worker has another version of the strategy."""
        space = Space(SweepRequest.read(self.request))
        if source_mark(space.strategy) != self.mark:
            raise BadInput(
                "--scheduler", f"a worker has another version of {space.strategy.name} or of this program"
            )
        return Walker(space, space.request.markets[self.number], self.piece, self.window)


_ready: OrderedDict[str, Walker] = OrderedDict()
_one_at_a_time = threading.Lock()


def walk_chunk(market: Market, key: str, points: Points) -> pl.DataFrame:
    """On a worker: the rows of a chunk. One at a time in a process, for each takes all cores."""
    with _one_at_a_time:
        if key not in _ready:
            while len(_ready) >= READY:
                _ready.popitem(last=False)
            _ready[key] = market.walker()
        _ready.move_to_end(key)
        return _ready[key].table(points)


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of the scheduler at HOST:PORT, with at least one worker. BadInput or Unavailable otherwise,
    within seconds."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise BadInput("--scheduler", f"{address!r} is not HOST:PORT, such as 127.0.0.1:8786")
    silent = Unavailable(
        f"--scheduler {address}: no scheduler answers there; start one with `dask scheduler`"
    )
    try:
        # Before Dask, which tries again and again and says much about it.
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError:
        raise silent from None
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters of it is said here
    try:
        client = Client(f"tcp://{host}:{port}", timeout=CONNECT_S, set_as_default=False)
    except OSError:
        raise silent from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_S)
        except TimeoutError:
            raise Unavailable(
                f"--scheduler {address}: it has no workers; start one with `dask worker {address}`"
            ) from None
        yield client


class Cluster:
    """Sends chunks to the workers of a scheduler; a worker that dies costs what it was walking, no more."""

    def __init__(
        self, client: Any, space: Space, pieces: Sequence[Stretch], windows: Sequence[int], mark: str
    ) -> None:
        self._client, self._mark = client, mark
        request = space.request.model_dump(mode="json", exclude_unset=True)
        source = source_mark(space.strategy)
        self._markets = [
            Market(request, n, piece, window, source)
            for n, (piece, window) in enumerate(zip(pieces, windows, strict=True))
        ]
        self._scattered: dict[int, Any] = {}

    def walk(self, chunks: Iterable[Chunk], within: Within) -> Iterator[tuple[Chunk, pl.DataFrame]]:
        """See `local.Executor.walk`; the chunks come as they are done."""
        from distributed import KilledWorker, as_completed

        waiting, running, losses = iter(chunks), {}, dict[int, int]()
        done = as_completed(loop=self._client.loop)

        def send(chunk: Chunk) -> None:
            future = self._submit(chunk)
            running[future.key] = chunk
            done.add(future)

        while True:
            while len(running) < AHEAD * max(1, len(self._client.scheduler_info(n_workers=-1)["workers"])):
                chunk = next(waiting, None)
                if chunk is None:
                    break
                send(chunk)
            if not running:
                return
            future = next(done)
            chunk = running.pop(future.key)
            try:
                table = future.result()
            except (CancelledError, KilledWorker):
                losses[chunk.number] = losses.get(chunk.number, 0) + 1
                self._still_there(losses[chunk.number])
                self._scattered.pop(chunk.market, None)  # the candles may have gone with the worker
                send(chunk)
                continue
            future.release()
            yield chunk, table

    def _submit(self, chunk: Chunk) -> Any:
        if chunk.market not in self._scattered:
            market = self._markets[chunk.market]
            self._scattered[chunk.market] = self._client.scatter(market, broadcast=True, hash=False)
        key = f"{self._mark}-{chunk.market}"
        return self._client.submit(
            walk_chunk, self._scattered[chunk.market], key, chunk.points, pure=False, priority=-chunk.number
        )

    def _still_there(self, losses: int) -> None:
        if self._client.status != "running":
            raise Unavailable("--scheduler: it went away; what is done is kept: run the same command again")
        if losses > MOST_LOSSES:
            raise TcpError(
                f"--scheduler: a chunk was lost {losses} times with its worker, which may be short of memory"
            )
