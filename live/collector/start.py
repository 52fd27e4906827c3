"""Start and crash are one path: where the stream of a symbol begins, and what brings it up to now."""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog
from sqlalchemy import Engine

from core.continuity import Continuity
from core.timeframes import Timeframe
from core.trades import Trade
from live.collector.adopt import Hole, adopt_ledger, unknown_holes
from live.collector.stream import SymbolStream
from pipelines.exchanges.base import ExchangeRest
from pipelines.warehouse.gaps import missing_ids
from pipelines.warehouse.resume import ResumePoint, resume_point, trades_since

LARGEST_REFILL_IDS = 50_000
"""A larger hole is closed by the exchange's candles, unless told otherwise: by id it takes over a minute."""
LONGEST_LAG_MS = 60_000
"""A REST whose newest trade is at most so much older than the last stored one lags behind the WebSocket; one
that is further back tells of another market."""
PAGE_IDS = 500

_log = structlog.get_logger("start")


class Opened(msgspec.Struct, frozen=True):
    """A symbol's stream, up to date but for gaps.

    new: its trades that are not stored yet
    too_large: holes that candles are to close
    adopted: holes that an earlier process left open in the ledger
    """

    stream: SymbolStream
    new: list[Trade]
    too_large: list[Hole]
    adopted: list[Hole]


async def open_stream(
    symbol: str,
    timeframes: Sequence[Timeframe],
    rest: ExchangeRest,
    engine: Engine,
    largest_refill: int = LARGEST_REFILL_IDS,
) -> Opened:
    """Where the symbol goes on. Raises core.errors.Unavailable when the exchange does not answer."""
    point = await asyncio.to_thread(_point, engine, symbol)
    recent = await rest.recent_trades(symbol)
    last_id = None if point is None else point.last.trade_id
    now_ms = recent[-1].timestamp_ms if recent else await rest.server_time_ms()
    unknown: list[Hole] = []
    if point is not None and last_id is not None:
        newest = recent[-1].trade_id if recent else last_id
        stream = await asyncio.to_thread(_resumed, symbol, timeframes, engine, point)
        gaps = stream.continuity.gaps
        is_near = newest - last_id <= largest_refill and (newest >= last_id or _lags(recent, point))
        if is_near and sum(gap.size for gap in gaps) <= largest_refill:
            # Before anything new is taken: the ledger is compared with what is stored.
            adopted = await asyncio.to_thread(
                adopt_ledger, engine, symbol, stream.continuity, last_id, [], now_ms
            )
            _log.info("resumed", symbol=symbol, last_id=last_id, behind=newest - last_id)
            return Opened(stream, stream.take(recent), [], adopted)
        # A stream that begins anew does not see the holes between the trades that are stored.
        unknown = await asyncio.to_thread(unknown_holes, engine, symbol, gaps)
    stream, known = await _fresh(symbol, timeframes, rest, recent)
    too_large: list[Hole] = []
    if last_id is not None:
        first_known = known[0].first_id if known else (stream.continuity.last_id or last_id) + 1
        unknown = [(first, min(last, first_known - 1)) for first, last in unknown if first < first_known]
        too_large = [hole for hole in unknown if hole[1] - hole[0] >= largest_refill]
        too_large += [(last_id + 1, first_known - 1)] if last_id + 1 < first_known else []
    new = await asyncio.to_thread(_unstored, engine, symbol, known)
    small = [hole for hole in unknown if hole not in too_large]
    adopted = await asyncio.to_thread(
        adopt_ledger, engine, symbol, stream.continuity, last_id, too_large, now_ms, small
    )
    return Opened(stream, new, too_large, adopted)


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


def _lags(recent: Sequence[Trade], point: ResumePoint) -> bool:
    """Whether an answer that ends before the last stored trade is merely late."""
    return 0 <= point.last.timestamp_ms - recent[-1].timestamp_ms <= LONGEST_LAG_MS


def _unstored(engine: Engine, symbol: str, known: list[Trade]) -> list[Trade]:
    """Without the matches that are stored, be it as part of an aggregate: under an id of its own the database
    would take each for another trade."""
    if not known:
        return known
    with engine.connect() as connection:
        missing = missing_ids(connection, symbol, known[0].first_id, known[-1].trade_id)
    return [
        trade
        for trade in known
        if any(first <= trade.first_id and trade.trade_id <= last for first, last in missing)
    ]


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
