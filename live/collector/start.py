"""Start and crash are one path: where the stream of a symbol begins, and what brings it up to now."""

import asyncio
from collections.abc import Sequence

import structlog
from sqlalchemy import Engine

from core.continuity import Continuity
from core.timeframes import Timeframe
from core.trades import Trade
from live.collector.stream import SymbolStream
from pipelines.exchanges.base import ExchangeRest
from pipelines.warehouse.resume import ResumePoint, resume_point, trades_since

LARGEST_REFILL_IDS = 50_000
"""A larger hole is closed by the exchange's candles: by id it would take more than a minute."""
PAGE_IDS = 500

_log = structlog.get_logger("start")


async def open_stream(
    symbol: str, timeframes: Sequence[Timeframe], rest: ExchangeRest, engine: Engine
) -> tuple[SymbolStream, list[Trade], tuple[int, int] | None]:
    """The stream of a symbol, up to date but for gaps; the trades that are not stored yet; and the ids of a
    hole that is to be closed by candles instead, if there is one.

    Raises core.errors.Unavailable when the exchange does not answer.
    """
    point = await asyncio.to_thread(_point, engine, symbol)
    recent = await rest.recent_trades(symbol)
    if point is None:
        stream, new = await _fresh(symbol, timeframes, rest, recent)
        return stream, new, None
    newest = recent[-1].trade_id if recent else point.last.trade_id
    if 0 <= newest - point.last.trade_id <= LARGEST_REFILL_IDS:
        resumed = await asyncio.to_thread(_resumed, symbol, timeframes, engine, point)
        if sum(gap.size for gap in resumed.continuity.gaps) <= LARGEST_REFILL_IDS:
            _log.info(
                "resumed", symbol=symbol, last_id=point.last.trade_id, behind=newest - point.last.trade_id
            )
            return resumed, resumed.take(recent), None
    stream, new = await _fresh(symbol, timeframes, rest, recent)
    first_known = new[0].first_id if new else newest + 1
    return stream, new, (point.last.trade_id + 1, first_known - 1)


async def _fresh(
    symbol: str, timeframes: Sequence[Timeframe], rest: ExchangeRest, recent: list[Trade]
) -> tuple[SymbolStream, list[Trade]]:
    """Begin with the minute of the exchange's present, all of it."""
    start_ms = Timeframe.M1.open_ms(await rest.server_time_ms())
    if recent:
        start_ms = min(start_ms, Timeframe.M1.open_ms(recent[-1].timestamp_ms))
    known = list(recent)
    while known and known[0].timestamp_ms >= start_ms:
        first_id = known[0].first_id
        earlier = await rest.trades_by_id(symbol, first_id - PAGE_IDS, first_id - 1)
        if not earlier:
            break
        known = earlier + known
    before = [trade for trade in known if trade.timestamp_ms < start_ms]
    ours = [trade for trade in known if trade.timestamp_ms >= start_ms]
    if before:
        continuity = Continuity(before[-1].trade_id, before[-1].timestamp_ms)
    elif ours:
        continuity = Continuity(ours[0].first_id - 1, start_ms)
    else:
        continuity = Continuity()
    stream = SymbolStream(symbol, timeframes, start_ms, continuity)
    _log.info("started", symbol=symbol, start_ms=start_ms, trades=len(ours))
    return stream, stream.take(ours)


def _point(engine: Engine, symbol: str) -> ResumePoint | None:
    with engine.connect() as connection:
        return resume_point(connection, symbol)


def _resumed(
    symbol: str, timeframes: Sequence[Timeframe], engine: Engine, point: ResumePoint
) -> SymbolStream:
    """Rebuild what was not released yet from stored trades; holes between them show as gaps."""
    with engine.connect() as connection:
        stored = trades_since(connection, symbol, point.start_ms)
    if point.anchor is not None:
        continuity = Continuity(point.anchor.trade_id, point.anchor.timestamp_ms)
    else:
        continuity = Continuity()
    stream = SymbolStream(symbol, timeframes, point.start_ms, continuity)
    stream.take(stored)
    return stream
