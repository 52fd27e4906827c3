"""Backfills in processes of their own, to be killed."""

import asyncio
import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from core.timeframes import Timeframe
from pipelines.backfill.bulk import backfill_bulk_trades
from pipelines.backfill.candles import backfill_candles
from pipelines.backfill.report import Progress
from pipelines.backfill.trades import backfill_trades
from pipelines.exchanges.okx.bulk import BulkDownloads
from pipelines.exchanges.okx.requests import Requester
from pipelines.exchanges.okx.rest import OkxRest

# Each child is forked from a server that has all of this imported.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])

Child = Callable[..., None]


def run_and_kill(child: Child, arguments: tuple[object, ...], after: int | None) -> bool:
    """Run a child; kill it where it is when it has told of progress `after` times (None: never).

    Returns whether it came to its end by itself.
    """
    ours, theirs = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=child, args=(theirs, *arguments))
    process.start()
    theirs.close()
    told = 0
    try:
        while ours.poll(60):
            ours.recv()
            told += 1
            if told == after:
                process.kill()
    except EOFError:
        pass
    process.join(60)
    assert process.exitcode in (0, -9)
    return process.exitcode == 0


def candles(
    told: Connection,
    rest_url: str,
    database_url: str,
    symbols: Sequence[str],
    start: int,
    end: int,
    batch: int,
) -> None:
    """Minutes of [start, end), in batches."""

    async def run() -> None:
        rest = OkxRest(rest_url, Requester(rest_url, budgets={}))
        try:
            for symbol in symbols:
                await backfill_candles(
                    rest, database_url, symbol, Timeframe.M1, start, end, _teller(told), batch
                )
        finally:
            await rest.close()

    asyncio.run(run())


def trades(
    told: Connection, rest_url: str, database_url: str, symbol: str, start: int, end: int, batch: int
) -> None:
    """The matches of [start, end) by page."""

    async def run() -> None:
        rest = OkxRest(rest_url, Requester(rest_url, budgets={}))
        try:
            await backfill_trades(rest, database_url, symbol, start, end, _teller(told), batch)
        finally:
            await rest.close()

    asyncio.run(run())


def bulk_trades(
    told: Connection, rest_url: str, database_url: str, folder: str, symbol: str, start: int, end: int
) -> None:
    """The days of [start, end) from bulk files."""

    async def run() -> None:
        rest = OkxRest(rest_url, Requester(rest_url, budgets={}))
        downloads = BulkDownloads(rest_url, Path(folder) / "bulk")
        lake, quarantine = str(Path(folder) / "lake"), Path(folder) / "quarantine"
        try:
            await backfill_bulk_trades(
                rest, downloads, database_url, lake, quarantine, symbol, start, end, _teller(told)
            )
        finally:
            await downloads.close()
            await rest.close()

    asyncio.run(run())


def _teller(told: Connection) -> Callable[[Progress], None]:
    return lambda progress: told.send(progress.done_ms)
