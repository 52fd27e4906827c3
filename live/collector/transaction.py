"""A chunk of the backlog as one transaction, and what the database refuses of it."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DataError, DBAPIError

from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Trade
from live.collector.batch import Batch, Chunk, GapRecord, Lost
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.gaps import record_gap
from pipelines.warehouse.spool import record_spool_position
from pipelines.warehouse.trade_marks import store_trades
from pipelines.warehouse.trades import last_trade_ids

Row = TypeVar("Row", Trade, Candle, GapRecord)
Revisions = dict[tuple[str, Timeframe, int], int]

_log = structlog.get_logger("writer")


def write_chunk(connection: Connection, chunk: Chunk, unkept: Collection[str] = ()) -> Revisions:
    """All of it, in the caller's transaction; returns the revisions of new and changed candles.

    unkept: symbols of which no raw trades are stored
    """
    revisions = _write(connection, chunk.batch, unkept)
    open_lost(connection, chunk.lost)
    if chunk.drained is not None:
        record_spool_position(connection, chunk.drained.segment, chunk.drained.offset)
    return revisions


def open_lost(connection: Connection, lost: Sequence[Lost]) -> None:
    """Open a row of the ledger for trades that the spool could not give back, in the caller's transaction."""
    stored = last_trade_ids(connection, sorted({each.symbol for each in lost}))
    for each in lost:
        newest = stored.get(each.symbol)
        if newest is None:
            continue  # nothing of the symbol is stored: it begins where its first stored trade will be
        first_id = newest.trade_id + 1 if each.first_id is None else each.first_id
        if first_id <= each.last_id:
            note = "lost on disk"
            at_ms = newest.timestamp_ms
            record_gap(connection, each.symbol, first_id, each.last_id, "open", at_ms, "start", note)


def is_refusal(error: DBAPIError) -> bool:
    """Whether the data is refused, which no repetition changes: by the driver, or with SQLSTATE 22 or 23."""
    if isinstance(error, DataError):
        return True
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state is not None and state.startswith(("22", "23"))


def sift(connection: Connection, batch: Batch) -> tuple[Batch, Batch]:
    """(what the database takes, what it refuses) of a batch that it refused as a whole; writes nothing."""
    taken, refused = Batch(), Batch()
    taken.trades, refused.trades = _halve(connection, batch.trades, lambda rows: Batch(trades=rows))
    taken.candles, refused.candles = _halve(connection, batch.candles, lambda rows: Batch(candles=rows))
    taken.gaps, refused.gaps = _halve(connection, batch.gaps, lambda rows: Batch(gaps=rows))
    return taken, refused


def as_unfillable(refused: Batch, reason: str) -> list[GapRecord]:
    """What the ledger says of refused trades."""
    return [
        GapRecord(
            t.symbol, t.first_id, t.trade_id, "unfillable", t.timestamp_ms, f"refused: {reason}", "feed"
        )
        for t in refused.trades
    ]


def _write(connection: Connection, batch: Batch, unkept: Collection[str] = ()) -> Revisions:
    store_trades(connection, batch.trades, unkept)
    revisions = upsert_candles(connection, batch.candles)
    for gap in batch.gaps:
        record_gap(connection, gap.symbol, gap.first_id, gap.last_id, gap.state, gap.at_ms, gap.by, gap.note)
    return revisions


def _halve(
    connection: Connection, rows: list[Row], batch_of: Callable[[list[Row]], Batch]
) -> tuple[list[Row], list[Row]]:
    """(taken, refused): by halves, down to the single rows that are refused."""
    if not rows:
        return [], []
    attempt = connection.begin_nested()
    try:
        _write(connection, batch_of(rows))
        return rows, []
    except DBAPIError as error:
        if not is_refusal(error):
            raise
        if len(rows) == 1:
            _log.error("a row is refused", row=repr(rows[0]), reason=str(error.orig))
            return [], rows
    finally:
        if attempt.is_active:
            attempt.rollback()
    middle = len(rows) // 2
    first, second = (_halve(connection, part, batch_of) for part in (rows[:middle], rows[middle:]))
    return first[0] + second[0], first[1] + second[1]
