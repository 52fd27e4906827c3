"""Trades of the exchange's history into raw_trades: paged backwards, what is stored or archived is skipped,
resumable."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from sqlalchemy import Engine

from core.errors import BadInput
from core.trades import Trade
from pipelines.backfill.report import BackfillReport, OnProgress, Progress
from pipelines.exchanges.base import ExchangeRest
from pipelines.lake.covered import NO_RUNS, Runs, archived_runs
from pipelines.warehouse.coverage import aggregated_ids, first_time, run_start
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.trades import copy_trades

BATCH = 2_000
"""Trades a transaction: 20 of OKX's pages, two seconds at its rate limit."""


async def backfill_trades(
    rest: ExchangeRest,
    database_url: str,
    symbol: str,
    start_ms: int,
    end_ms: int,
    on_progress: OnProgress | None = None,
    batch: int = BATCH,
    lake_url: str | None = None,
) -> BackfillReport:
    """Store every match with start_ms <= time < end_ms, as far back as the exchange keeps them (3 months).

    Goes from the newest to the oldest; where it meets an unbroken run of ids that are stored, or in the lake
    at `lake_url`, it jumps to its beginning. `missing` counts ids inside the fetched range that the exchange
    left out, where they tell. BadInput when it keeps no trades from as long ago as that.
    """
    if start_ms >= end_ms:
        raise BadInput("from", "must be before `to`")
    end = min(end_ms, await rest.server_time_ms() + 1)
    if start_ms >= end:
        raise BadInput("from", "is in the exchange's future")
    archived = (
        await asyncio.to_thread(archived_runs, database_url, lake_url, symbol, start_ms, end)
        if lake_url is not None
        else NO_RUNS
    )
    work = _Work(engine_of(database_url), archived, symbol, start_ms, end, batch, on_progress)
    before: int | None = None
    while True:
        async with aclosing(rest.trade_pages(symbol, start_ms, end, before)) as pages:
            async for page in pages:
                before = await work.take(page)
                if before is not None:
                    break
            else:
                break
    await work.write(start_ms)
    begin_ms = await _late_begin(rest, work, symbol, start_ms) if rest.consecutive_ids else None
    return BackfillReport(
        kind="trades",
        symbol=symbol,
        timeframe=None,
        requested_start_ms=start_ms,
        requested_end_ms=end_ms,
        end_ms=end,
        rows=work.rows,
        already=0,
        missing=work.missing if rest.consecutive_ids else 0,
        begin_ms=begin_ms,
    )


async def _late_begin(rest: ExchangeRest, work: "_Work", symbol: str, start_ms: int) -> int | None:
    """The time of the first trade, if it is the oldest that the exchange keeps: there an exchange that
    numbers its trades ends its pages without a word."""
    if work.goes_on_in_lake:
        return None
    async with aclosing(rest.trade_pages(symbol, 0, start_ms, work.following)) as pages:
        async for _ in pages:
            return None
    if work.following is None:
        raise BadInput(
            "from",
            f"the exchange keeps no trades of {symbol} from before it; see `--source bulk` for older ones",
        )
    return await asyncio.to_thread(work.first_time)


class _Work:
    """Trades on their way from pages, the newest first, to the database."""

    def __init__(
        self,
        engine: Engine,
        archived: Runs,
        symbol: str,
        start_ms: int,
        end_ms: int,
        batch: int,
        on_progress: OnProgress | None,
    ) -> None:
        self.rows = 0
        self.missing = 0
        self.following: int | None = None
        self.goes_on_in_lake = archived.firsts.size > 0
        """Archived trades may go on before those that were taken in: how old they are is not known here."""
        self._engine = engine
        self._archived = archived
        self._symbol = symbol
        self._start_ms = start_ms
        self._end_ms = end_ms
        self._batch = batch
        self._on_progress = on_progress
        self._pending: list[Trade] = []

    async def take(self, page: Sequence[Trade]) -> int | None:
        """Take in a page. Where trades we have go on from it without a hole: the first id of that run."""
        self.missing += _holes(page, self.following)
        self.following = page[0].first_id
        self._pending.extend(page)
        known_from = await asyncio.to_thread(self._known_from, self.following)
        self.goes_on_in_lake = known_from is not None and self._archived.start_of(known_from) is not None
        if known_from is not None:
            self.following = known_from
        if known_from is not None or len(self._pending) >= self._batch:
            await self.write(page[0].timestamp_ms)
        return known_from

    def first_time(self) -> int | None:
        """The time of the first trade that was taken in or skipped, ms."""
        if self.following is None:
            return None
        return first_time(self._engine, self._symbol, self.following, self._start_ms, self._end_ms)

    async def write(self, reached_ms: int) -> None:
        """Store what is pending and tell how far back it reaches."""
        fresh = [trade for trade in self._pending if self._archived.start_of(trade.trade_id) is None]
        self.rows += await asyncio.to_thread(_write, self._engine, fresh)
        self._pending = []
        if self._on_progress is not None:
            self._on_progress(Progress(self._end_ms - reached_ms, self._end_ms - self._start_ms, self.rows))

    def _known_from(self, following: int) -> int | None:
        """The first id of the run, partly stored and partly archived, that ends before `following`."""
        found = None
        while (begin := self._run_start(following - 1)) is not None:
            found = following = begin
        return found

    def _run_start(self, last_id: int) -> int | None:
        archived = self._archived.start_of(last_id)
        if archived is not None:
            return archived
        return run_start(self._engine, self._symbol, last_id, self._start_ms, self._end_ms)


def _holes(page: Sequence[Trade], following: int | None) -> int:
    """Ids that no trade covers, inside the page and between it and the first id of the newer one."""
    first_ids = [trade.first_id for trade in page[1:]]
    if following is not None:
        first_ids.append(following)
    return sum(
        max(first_id - trade.trade_id - 1, 0) for trade, first_id in zip(page, first_ids, strict=False)
    )


def _write(engine: Engine, trades: Sequence[Trade]) -> int:
    """Store what is not stored yet. The feed stores aggregates: a match inside one is there already, although
    no row has its id."""
    if not trades:
        return 0
    with engine.begin() as connection:
        inside = aggregated_ids(connection, trades)
        return copy_trades(connection, [trade for trade in trades if trade.trade_id not in inside])
