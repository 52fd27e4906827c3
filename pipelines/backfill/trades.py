"""Trades of the exchange's history into raw_trades: paged backwards, what is stored is skipped, resumable."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from sqlalchemy import Engine

from core.errors import BadInput
from core.trades import Trade
from pipelines.backfill.report import BackfillReport, OnProgress, Progress
from pipelines.exchanges.base import ExchangeRest
from pipelines.warehouse.coverage import aggregated_ids, run_start
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
) -> BackfillReport:
    """Store every match with start_ms <= time < end_ms, as far back as the exchange keeps them (3 months).

    Goes from the newest to the oldest; where it meets an unbroken run of stored ids it jumps to its
    beginning. `missing` counts ids inside the fetched range that the exchange left out.
    """
    if start_ms >= end_ms:
        raise BadInput("from", "must be before `to`")
    engine = engine_of(database_url)
    end = min(end_ms, await rest.server_time_ms() + 1)
    if start_ms >= end:
        raise BadInput("from", "is in the exchange's future")
    rows = missing = 0
    before: int | None = None
    following: int | None = None
    pending: list[Trade] = []
    while True:
        jump: int | None = None
        async with aclosing(rest.trade_pages(symbol, start_ms, end, before)) as pages:
            async for page in pages:
                missing += _holes(page, following)
                following = page[0].first_id
                pending.extend(page)
                jump = await asyncio.to_thread(run_start, engine, symbol, following - 1, start_ms, end)
                if len(pending) >= batch or jump is not None:
                    rows += await asyncio.to_thread(_write, engine, pending)
                    pending = []
                    _report(on_progress, page[0].timestamp_ms, start_ms, end, rows)
                if jump is not None:
                    break
        if jump is None:
            break
        before = following = jump
    rows += await asyncio.to_thread(_write, engine, pending)
    _report(on_progress, start_ms, start_ms, end, rows)
    return BackfillReport(
        kind="trades",
        symbol=symbol,
        timeframe=None,
        requested_start_ms=start_ms,
        requested_end_ms=end_ms,
        end_ms=end,
        rows=rows,
        already=0,
        missing=missing,
    )


def _report(on_progress: OnProgress | None, at_ms: int, start_ms: int, end_ms: int, rows: int) -> None:
    if on_progress is not None:
        on_progress(Progress(end_ms - at_ms, end_ms - start_ms, rows))


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
