"""Candles of the exchange's history into market_data: only what is missing, in batches, resumable."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing

from sqlalchemy import Engine

from core.candles import Candle
from core.errors import BadInput
from core.timeframes import Timeframe
from pipelines.backfill.ahead import ahead
from pipelines.backfill.report import BackfillReport, OnProgress, Progress
from pipelines.exchanges.base import ExchangeRest
from pipelines.warehouse.candles import add_candles
from pipelines.warehouse.coverage import missing_candles
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.sql import to_datetime

BATCH = 3_000
"""Candles a fetch and a transaction: ten of OKX's pages, so that an interruption costs a second of work."""
AHEAD = 4
"""Fetches under way while a batch is written: with answers of 150 ms the rate limit is what is waited for."""


async def backfill_candles(
    rest: ExchangeRest,
    database_url: str,
    symbol: str,
    timeframe: Timeframe,
    start_ms: int,
    end_ms: int,
    on_progress: OnProgress | None = None,
    batch: int = BATCH,
    collected_ms: int | None = None,
) -> BackfillReport:
    """Store every confirmed candle of [start_ms, end_ms), that is with a close time in (start_ms, end_ms].

    Stored candles are neither fetched nor touched, so a second run fetches nothing and an interrupted one
    goes on where it was. BadInput for a symbol the exchange does not list or a time range without a candle.

    collected_ms: later candles are left to the live collector, which stores them behind their trades; None
    leaves it none
    """
    engine = engine_of(database_url)
    first, last = await _bounds(rest, timeframe, start_ms, end_ms, collected_ms)
    holes = await asyncio.to_thread(missing_candles, engine, symbol, timeframe, first, last)
    wanted = sum(end - start for start, end in holes)
    done = rows = 0
    batches = list(_batches(holes, batch * timeframe.ms))
    fetches = ahead((rest.candles(symbol, timeframe, start, end) for start, end in batches), AHEAD)
    async with aclosing(fetches):
        for start, end in batches:
            rows += await asyncio.to_thread(_write, engine, await anext(fetches))
            done += end - start
            if on_progress is not None:
                on_progress(Progress(done, wanted, rows))
    return BackfillReport(
        kind="candles",
        symbol=symbol,
        timeframe=timeframe.value,
        requested_start_ms=start_ms,
        requested_end_ms=end_ms,
        end_ms=last,
        rows=rows,
        already=(last - first - wanted) // timeframe.ms,
        missing=wanted // timeframe.ms - rows,
    )


async def _bounds(
    rest: ExchangeRest, timeframe: Timeframe, start_ms: int, end_ms: int, collected_ms: int | None
) -> tuple[int, int]:
    """The range in whole candles, ending no later than the exchange's present, or what is collected."""
    if start_ms >= end_ms:
        raise BadInput("from", "must be before `to`")
    now_ms = await rest.server_time_ms()
    if start_ms >= now_ms:
        raise BadInput("from", "is in the exchange's future")
    first = -(-start_ms // timeframe.ms) * timeframe.ms
    last = timeframe.open_ms(min(end_ms, now_ms if collected_ms is None else min(now_ms, collected_ms)))
    if first >= last:
        present = "now" if collected_ms is None else f"{to_datetime(collected_ms):%Y-%m-%d %H:%M} UTC"
        later = "" if collected_ms is None else ": the daemon collects the symbol and stores later ones"
        raise BadInput(
            "to", f"no {timeframe} candle begins and ends between `from` and `to` (and {present}){later}"
        )
    return first, last


def _batches(holes: Sequence[tuple[int, int]], longest_ms: int) -> Iterator[tuple[int, int]]:
    for hole_start, end in holes:
        for start in range(hole_start, end, longest_ms):
            yield start, min(start + longest_ms, end)


def _write(engine: Engine, candles: Sequence[Candle]) -> int:
    """A live collector may have stored some of them since they were listed: its own stand."""
    with engine.begin() as connection:
        return add_candles(connection, candles)
