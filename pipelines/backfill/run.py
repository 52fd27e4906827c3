"""A backfill from synchronous code: the command line and the orchestrator."""

import asyncio
from datetime import datetime
from typing import Literal

from config.settings import Settings
from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.backfill.bulk import BulkReport, backfill_bulk_trades
from pipelines.backfill.candles import backfill_candles
from pipelines.backfill.report import BackfillReport, OnProgress
from pipelines.backfill.trades import backfill_trades
from pipelines.clock import SystemClock
from pipelines.exchanges.connect import make_bulk_downloads, make_rest
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import collected_through_ms
from pipelines.warehouse.sql import to_ms


def run_backfill(
    settings: Settings,
    kind: Literal["candles", "trades"],
    symbol: str,
    timeframe: str | None,
    start: datetime | int,
    end: datetime | int,
    on_progress: OnProgress | None = None,
) -> BackfillReport:
    """Fetch [start, end) (aware datetimes or ms since the epoch) with its own event loop.

    `timeframe` is for candles only. BadInput for a user's mistake, Unavailable when the exchange fails.
    """
    return asyncio.run(
        _run(settings, _database_url(settings), kind, symbol, timeframe, _ms(start), _ms(end), on_progress)
    )


def run_bulk_backfill(
    settings: Settings,
    symbol: str,
    start: datetime | int,
    end: datetime | int,
    on_progress: OnProgress | None = None,
    repair: bool = False,
) -> BulkReport:
    """Put the trades of the exchange's bulk files, of the UTC days that touch [start, end), into the lake.

    repair: fetch days again whose file in the lake is damaged, not only those whose file is lost
    BadInput for a user's mistake, Unavailable when the exchange fails.
    """
    return asyncio.run(
        _run_bulk(settings, _database_url(settings), symbol, _ms(start), _ms(end), on_progress, repair)
    )


async def _run_bulk(
    settings: Settings,
    database_url: str,
    symbol: str,
    start_ms: int,
    end_ms: int,
    on_progress: OnProgress | None,
    repair: bool,
) -> BulkReport:
    downloads = make_bulk_downloads(settings)
    rest = make_rest(settings)
    quarantine = settings.home / "quarantine"
    try:
        return await backfill_bulk_trades(
            rest,
            downloads,
            database_url,
            settings.lake_url,
            quarantine,
            symbol,
            start_ms,
            end_ms,
            on_progress,
            repair,
        )
    finally:
        await downloads.close()
        await rest.close()


async def _run(
    settings: Settings,
    database_url: str,
    kind: Literal["candles", "trades"],
    symbol: str,
    timeframe: str | None,
    start_ms: int,
    end_ms: int,
    on_progress: OnProgress | None,
) -> BackfillReport:
    length = Timeframe.parse(timeframe or "") if kind == "candles" else None
    rest = make_rest(settings)
    try:
        if length is None:
            return await backfill_trades(
                rest, database_url, symbol, start_ms, end_ms, on_progress, lake_url=settings.lake_url
            )
        collected_ms = collected_through_ms(engine_of(database_url), symbol, SystemClock().now_ms())
        return await backfill_candles(
            rest, database_url, symbol, length, start_ms, end_ms, on_progress, collected_ms=collected_ms
        )
    finally:
        await rest.close()


def _database_url(settings: Settings) -> str:
    if settings.database_url is None:
        raise BadInput("TCP_DATABASE_URL", "is not set")
    return settings.database_url


def _ms(at: datetime | int) -> int:
    if isinstance(at, int):
        return at
    if at.tzinfo is None:
        raise BadInput("time", f"{at} has no time zone")
    return to_ms(at)
