"""A sweep from request to result: every chunk is kept as it is done, so that a killed one goes on."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import polars as pl

from core.errors import BadInput
from pipelines.backtest.candles import Stretch, stretch
from pipelines.backtest.checks import DataReport
from pipelines.backtest.engine import laid_for
from pipelines.backtest.intrabar import path_of
from pipelines.backtest.ordered import refuse_unsuitable
from pipelines.sweep.local import Executor, Local
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.results import BEST, Finished, InMemory, Parts, Results
from pipelines.sweep.search import Chunk, Search, search_of
from pipelines.sweep.space import Space
from pipelines.sweep.state import chunk_size, fingerprint, partial_folder
from pipelines.validation.luck import Luck, together

Progress = Callable[[int, int], None]
Candles = pl.DataFrame | Callable[[SweepRequest], pl.DataFrame]
KEPT = 100_000
"""Rows of a sweep that the database keeps by default: the best; a Parquet file has all of them."""
STRIDE = 1 << 32
"""Rows have the number chunk · STRIDE + place in the chunk."""


@dataclass
class Sweep:
    """What to do, and with what. Frozen in spirit: nothing changes after it began.

    candles: a frame, or a function from a request of one market to one; None reads the database
    path: bars inside the candles, likewise, where the request's execution options want them
    out: Parquet file of all rows, best first, there whole or not at all; state: folder for what a killed
    sweep goes on from when there is no `out` (None: it begins anew); scheduler: of a Dask cluster, HOST:PORT
    most: rows to keep in memory when there is no file (None: all); top: best rows to keep in the database
    source: kept with the state, so that the caller knows where the candles were from; resume: what of a sweep
    must be there, by its name; sweep_id: of the rows in the database
    data: what was mended when the candles of a market were read, by its name, where the reader knows
    """

    request: SweepRequest
    database_url: str | None = None
    candles: Candles | None = None
    path: Candles | None = None
    out: Path | None = None
    state: Path | None = None
    scheduler: str | None = None
    most: int | None = None
    top: int = KEPT
    sweep_id: str | None = None
    source: dict[str, Any] = field(default_factory=dict)
    resume: str | None = None
    chunk: int | None = None
    data: dict[str, DataReport] = field(default_factory=dict)
    on_progress: Progress = lambda done, of: None


@dataclass(frozen=True)
class Outcome:
    """rows: combinations that were walked; dropped: those that constraints or the strategy ruled out; failed:
    rows with an error; resumed: chunks that were there already; luck: what the best owes to their number;
    data: what was mended in the candles of each market; inside: (candles that the path inside them covers,
    all) of each market where one was asked for."""

    id: str
    names: tuple[str, ...]
    rows: int
    dropped: int
    failed: int
    resumed: int
    best: pl.DataFrame
    errors: list[dict[str, Any]]
    finished: Finished
    luck: Luck
    data: dict[str, DataReport]
    inside: dict[str, tuple[int, int]]


def execute_sweep(
    request: SweepRequest,
    database_url: str | None = None,
    candles: Candles | None = None,
    out: str | Path | None = None,
    on_progress: Progress | None = None,
    sweep_id: str | None = None,
    path: Candles | None = None,
) -> pl.DataFrame:
    """Every combination as a table in memory, best first: symbol, timeframe, parameters, metrics, error."""
    sweep = Sweep(request, database_url, candles, path, Path(out) if out else None, sweep_id=sweep_id)
    sweep.on_progress = on_progress or sweep.on_progress
    return pl.concat(run_sweep(sweep).finished.batches())


def run_sweep(sweep: Sweep) -> Outcome:
    """Run it, or go on with it. BadInput when the request makes no sense; a row whose strategy fails is kept
    with its error and the sweep goes on."""
    request = sweep.request
    space = Space(request)
    if sweep.out is not None:
        prepare_target(sweep.out)
    with _connected(sweep.scheduler) as client, ExitStack() as afterwards:
        reaches = [space.reach(market.timeframe) for market in request.markets]
        pieces = [
            _piece(sweep, market, reach) for market, reach in zip(request.markets, reaches, strict=True)
        ]
        looked = {market.timeframe: piece for market, piece in zip(request.markets, pieces, strict=True)}
        for timeframe, piece in looked.items():
            space.refuse_look_ahead(piece.candles, timeframe)
        is_kept = sweep.out is not None or sweep.state is not None or client is not None
        mark = fingerprint(space, pieces) if is_kept else ""
        windows = [window for window, _ in reaches]
        results, note = _results(sweep, space, pieces, mark)
        if isinstance(results, Parts):
            afterwards.callback(results.close)
        executor: Executor = Local(space, pieces, windows)
        if client is not None:
            from pipelines.sweep.cluster import Cluster

            executor = Cluster(client, space, pieces, windows, mark)
        run = _Run(sweep, space, search_of(space, request, note["chunk"]), results, note["id"])
        run.inside = _inside(request, pieces)
        outcome = _recorded(run, pieces, executor)
        if isinstance(results, Parts):
            results.discard()
    return outcome


def _results(
    sweep: Sweep, space: Space, pieces: list[Stretch], mark: str
) -> tuple[Parts | InMemory, dict[str, Any]]:
    """Where the rows go, and the note about the sweep: that of an unfinished one if it is there."""
    request = sweep.request
    note = {
        "id": sweep.sweep_id or uuid4().hex[:12],
        "request": request.model_dump(mode="json", exclude_unset=True),
        "source": sweep.source,
        "end": max(piece.candles["timestamp"][-1] for piece in pieces).isoformat(),
        "chunk": sweep.chunk or chunk_size(space, pieces, sweep.scheduler is not None),
    }
    folder = partial_folder(sweep.out, sweep.state, mark)
    if sweep.resume is not None and (folder is None or not folder.is_dir()):
        raise BadInput(
            "--resume",
            f"{sweep.resume}: its candles, its strategy or the program changed since; run the command anew "
            "without it",
        )
    if folder is None:
        return InMemory(request.sort, request.descending, sweep.most), note
    parts = Parts(folder, sweep.out or folder / "result", request.sort, request.descending)
    return parts, parts.begin(note)


@dataclass
class _Run:
    sweep: Sweep
    space: Space
    search: Search
    results: Results
    id: str
    luck: dict[str, Luck] = field(default_factory=dict)
    inside: dict[str, tuple[int, int]] = field(default_factory=dict)
    done: int = 0
    given: int = 0
    resumed: int = 0

    def walk(self, executor: Executor, record: Callable[[int, pl.DataFrame], None]) -> None:
        """Every chunk that is not there yet, kept and recorded as it comes."""
        for chunks in self.search.rounds():
            for chunk, table in executor.walk(self._missing(chunks, record), self._within):
                numbers = np.arange(table.height) + chunk.number * STRIDE
                numbered = table.hstack([pl.Series("n", numbers, dtype=pl.Int64)])
                self.results.put(chunk.number, numbered)
                record(chunk.number, numbered)
                self._passed(chunk, table)

    def outcome(self, finished: Finished) -> Outcome:
        """What came of it."""
        if not finished.rows:
            raise self.space.none_left()
        errors = finished.errors(3)
        return Outcome(
            id=self.id,
            names=self.space.names,
            rows=finished.rows,
            dropped=self.given + self.search.dropped - finished.rows,
            failed=finished.failed,
            resumed=self.resumed,
            best=finished.head(BEST),
            errors=[
                {name: row[name] for name in ("symbol", "timeframe", *self.space.names, "error")}
                for row in errors.iter_rows(named=True)
            ],
            finished=finished,
            luck=together(self.luck.values()),
            data=self.sweep.data,
            inside=self.inside,
        )

    def _missing(self, chunks: Any, record: Callable[[int, pl.DataFrame], None]) -> Iterator[Chunk]:
        for chunk in chunks:
            if not self.results.has(chunk.number):
                yield chunk
                continue
            table = self.results.get(chunk.number)
            record(chunk.number, table)
            self.resumed += 1
            self._passed(chunk, table)

    def _passed(self, chunk: Chunk, table: pl.DataFrame) -> None:
        self.search.learn(chunk, table)
        market = self.sweep.request.markets[chunk.market].named
        self.luck.setdefault(market, Luck()).add(table["sharpe"])
        self.given += chunk.points.size
        self.done += chunk.covers
        self.sweep.on_progress(self.done, self.search.total)

    def _within(self, chunk: Chunk, done: int) -> None:
        part = chunk.covers * done // max(1, chunk.points.size)
        self.sweep.on_progress(self.done + part, self.search.total)


def prepare_target(path: Path) -> None:
    """Make the folder of a file to be written; BadInput, before any work is done, when it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput("--out", f"{path}: {error.strerror or error}") from None
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise BadInput("--out", f"{path} cannot be written")


def _piece(sweep: Sweep, market: SweepRequest, reach: tuple[int, int]) -> Stretch:
    """The candles of a market with the path inside them, if one is wanted."""
    piece = stretch(market, *reach, sweep.database_url, _frame(sweep.candles, market))
    sweep.data.setdefault(market.named, piece.data)
    path = path_of(market, piece, sweep.database_url, _frame(sweep.path, market))
    if market.execution is not None:
        refuse_unsuitable(market.execution, piece.candles.slice(piece.warm), market.symbol, piece.volumes)
    return replace(piece, path=path if market.execution else None)


def _inside(request: SweepRequest, pieces: list[Stretch]) -> dict[str, tuple[int, int]]:
    """How many candles of each market the path inside them covers, where one was asked for."""
    if request.execution is None or request.execution.intrabar is None:
        return {}
    return {
        market.named: (laid_for(market, piece.candles, piece.warm, piece.path).covered, piece.judged)
        for market, piece in zip(request.markets, pieces, strict=True)
    }


def _frame(candles: Candles | None, market: SweepRequest) -> pl.DataFrame | None:
    return candles(market) if callable(candles) else candles


def _connected(scheduler: str | None) -> Any:
    if scheduler is None:
        return nullcontext()
    from pipelines.sweep.cluster import connected

    return connected(scheduler)


def _recorded(run: _Run, pieces: list[Stretch], executor: Executor) -> Outcome:
    """Walk, with the rows going to the database as they come if there is one."""
    if run.sweep.database_url is None:
        run.walk(executor, lambda number, table: None)
        return run.outcome(run.results.finish())
    from sqlalchemy.exc import SQLAlchemyError

    from pipelines.sweep.store import Recorder

    sweep, url = run.sweep, run.sweep.database_url
    named = str(sweep.out.absolute()) if sweep.out else None
    recorder = Recorder(url, run.id, sweep.request, run.space, pieces, sweep.top, named)
    try:
        run.walk(executor, recorder.chunk)
        outcome = run.outcome(run.results.finish())
        batches = outcome.finished.batches()
        recorder.finish(outcome.rows, outcome.dropped, outcome.failed, outcome.best, batches, run.luck)
    except BaseException as error:
        with suppress(SQLAlchemyError):  # where the database itself has gone, that is the error to show
            recorder.stopped(error)
        raise
    finally:
        recorder.close()
    return outcome
