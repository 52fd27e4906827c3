"""What an earlier process left open in the ledger of missing trades: closed at the start, or taken over."""

from collections.abc import Collection, Iterator, Sequence

import structlog
from sqlalchemy import Engine

from core.continuity import Continuity, Gap
from pipelines.warehouse.gaps import (
    UNCLOSED,
    LedgerGap,
    close_covered,
    ledger_gaps,
    missing_ids,
    neighbour_times,
    open_symbols,
    record_gap,
)

Hole = tuple[int, int]
"""First and last missing id."""

_log = structlog.get_logger("start")


def adopt_ledger(
    engine: Engine,
    symbol: str,
    continuity: Continuity,
    last_stored_id: int | None,
    too_large: Sequence[Hole],
    now_ms: int,
    unknown: Sequence[Hole] = (),
) -> list[Hole]:
    """Bring the open rows of a symbol up to date; returns those that are still to be refilled.

    A process can be killed in the middle of a refill. Then each of its rows is one of these: its trades are
    stored, and it is closed; it lies in a hole that is too large to refill, and is closed with it; or ids are
    missing, and `continuity`, which knows the stored trades from the last released minute on and nothing
    else, is told of those it does not know. What was found not to exist is not asked for again.

    last_stored_id: None when no trade of the symbol is stored
    now_ms: exchange time
    unknown: holes that are to be rows from now on
    """
    adopted = []
    with engine.begin() as connection:
        for first_id, last_id in unknown:
            record_gap(connection, symbol, first_id, last_id, "open", now_ms, "start")
        closed = close_covered(connection, symbol, now_ms, "start", UNCLOSED)
        for row in ledger_gaps(connection, symbol):
            reason = _beyond_refill(row.first_id, row.last_id, last_stored_id, too_large)
            if reason is not None:
                record_gap(
                    connection, symbol, row.first_id, row.last_id, "unfillable", now_ms, "start", reason
                )
                continue
            for first_id, last_id in missing_ids(connection, symbol, row.first_id, row.last_id):
                if last_id <= (last_stored_id or 0) and not continuity.missing_within(first_id, last_id):
                    before, after = neighbour_times(connection, symbol, first_id, last_id)
                    continuity.insert(Gap(first_id, last_id, before or 0, after or continuity.last_ms))
            adopted.append((row.first_id, row.last_id))
        for row in ledger_gaps(connection, symbol, ("unfillable",)):
            if row.closed_by == "refill":
                continuity.give_up(row.first_id, row.last_id)
    if closed or adopted:
        _log.info("ledger taken over", symbol=symbol, closed=len(closed), adopted=len(adopted))
    return adopted


def unknown_holes(engine: Engine, symbol: str, gaps: Sequence[Gap]) -> list[Hole]:
    """Of holes between stored trades what the ledger has no row of: the process was killed between the
    trades behind a hole and its row. One whose first side is stored no more may be in the lake."""
    if not gaps:
        return []
    with engine.connect() as connection:
        known = ledger_gaps(connection, symbol, (*UNCLOSED, "unfillable"))
        return [
            hole
            for gap in gaps
            if not missing_ids(connection, symbol, gap.first_id - 1, gap.first_id - 1)
            for hole in _without(gap.first_id, gap.last_id, known)
        ]


def _without(first_id: int, last_id: int, rows: Sequence[LedgerGap]) -> Iterator[Hole]:
    """What the rows, lowest first, leave of these ids."""
    for row in rows:
        if row.first_id <= last_id and first_id <= row.last_id:
            if first_id < row.first_id:
                yield first_id, row.first_id - 1
            first_id = row.last_id + 1
    if first_id <= last_id:
        yield first_id, last_id


def abandoned(engine: Engine, symbols: Collection[str]) -> dict[str, int]:
    """How many holes are open of symbols that are not collected any more: nobody will close them."""
    with engine.connect() as connection:
        return {symbol: holes for symbol, holes in open_symbols(connection).items() if symbol not in symbols}


def _beyond_refill(
    first_id: int, last_id: int, last_stored_id: int | None, too_large: Sequence[Hole]
) -> str | None:
    """Why nobody will ask for these ids, if so."""
    if last_stored_id is None:
        return "no trade of the symbol is stored any more"
    around = next((hole for hole in too_large if hole[0] <= first_id and last_id <= hole[1]), None)
    return around and f"part of the hole {around[0]} to {around[1]}, which candles close"
