"""The ledger of holes in the trade sequence: data_gaps.

    (found) ──▶ open ──▶ refilling ──▶ refilled          its trades are stored
                  │          │
                  └──────────┴───────▶ unfillable        nobody has them; may still become refilled

Who found it, who closed it, when and why stand in the row. `FROM_STATES` is the only place that says which
step may follow which; every writer goes through `record_gap`, and a step that may not follow is left out: a
batch can be written twice, and a late repeat must not open again what is closed. A hole that is found anew
after it was closed (a damaged disk took its trades away again) does open again.
"""

from typing import Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, and_, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert

from pipelines.warehouse.sql import EXCHANGE, to_datetime, to_ms
from pipelines.warehouse.tables import data_gaps

GapState = Literal["open", "refilling", "refilled", "unfillable"]
GapActor = Literal["feed", "start", "refill", "reconciliation"]

FROM_STATES: dict[GapState, tuple[GapState, ...]] = {
    "open": (),
    "refilling": ("open",),
    "refilled": ("open", "refilling", "unfillable"),
    "unfillable": ("open", "refilling"),
}
"""The states each state may follow. Open follows none: see `record_gap` for a hole that is found again."""
UNCLOSED: tuple[GapState, ...] = ("open", "refilling")

# Records do not overlap: of those behind the last id only the first can reach back to it.
_STORED = text("""
    SELECT greatest(trade_id - count + 1, :first_id) AS first_id, least(trade_id, :last_id) AS last_id
    FROM (
        (SELECT trade_id, count FROM raw_trades WHERE exchange = :exchange AND symbol = :symbol
           AND trade_id BETWEEN :first_id AND :last_id)
        UNION ALL
        (SELECT trade_id, count FROM raw_trades WHERE exchange = :exchange AND symbol = :symbol
           AND trade_id > :last_id ORDER BY trade_id LIMIT 1)
    ) AS near
    WHERE trade_id - count < :last_id ORDER BY trade_id
""")
_NEIGHBOURS = text("""
    SELECT (SELECT timestamp FROM raw_trades WHERE exchange = :exchange AND symbol = :symbol
              AND trade_id < :first_id ORDER BY trade_id DESC LIMIT 1) AS before,
           (SELECT timestamp FROM raw_trades WHERE exchange = :exchange AND symbol = :symbol
              AND trade_id > :last_id ORDER BY trade_id LIMIT 1) AS after
""")


class LedgerGap(msgspec.Struct, frozen=True):
    """A row of the ledger. closed_by: None while it is open."""

    first_id: int
    last_id: int
    state: GapState
    closed_by: GapActor | None


class GapTotals(msgspec.Struct, frozen=True):
    """The holes of a symbol by their state."""

    exchange: str
    symbol: str
    open: int
    refilled: int
    unfillable: int


def unfillable_ids(connection: Connection, symbol: str) -> list[tuple[int, int]]:
    """The holes of a symbol that nobody can fill, as (first id, last id)."""
    columns = data_gaps.c
    query = select(columns.first_id, columns.last_id).where(
        columns.exchange == EXCHANGE, columns.symbol == symbol, columns.state == "unfillable"
    )
    return [(row.first_id, row.last_id) for row in connection.execute(query)]


def gap_totals(engine: Engine) -> list[GapTotals]:
    """Every symbol that ever had a hole."""
    columns = data_gaps.c
    counts = (
        func.count().filter(columns.state.in_(UNCLOSED)).label("open"),
        func.count().filter(columns.state == "refilled").label("refilled"),
        func.count().filter(columns.state == "unfillable").label("unfillable"),
    )
    query = select(columns.exchange, columns.symbol, *counts).group_by(columns.exchange, columns.symbol)
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(columns.exchange, columns.symbol))
        return [GapTotals(row.exchange, row.symbol, row.open, row.refilled, row.unfillable) for row in rows]


def record_gap(
    connection: Connection,
    symbol: str,
    first_id: int,
    last_id: int,
    state: GapState,
    now_ms: int,
    by: GapActor = "feed",
    note: str | None = None,
) -> None:
    """Write that the hole first_id … last_id (both missing) came into `state` at exchange time `now_ms`."""
    at, closes = to_datetime(now_ms), state not in UNCLOSED
    row = insert(data_gaps).values(
        exchange=EXCHANGE,
        symbol=symbol,
        first_id=first_id,
        last_id=last_id,
        state=state,
        detected_at=at,
        detected_by=by,
        refilling_at=at if state == "refilling" else None,
        closed_at=at if closes else None,
        closed_by=by if closes else None,
        note=note,
    )
    old, new = data_gaps.c, row.excluded
    changed = {
        "state": new.state,
        "refilling_at": func.coalesce(new.refilling_at, old.refilling_at),
        "closed_at": new.closed_at,
        "closed_by": new.closed_by,
        "note": func.coalesce(new.note, old.note),
    }
    allowed: ColumnElement[bool] = old.state.in_(FROM_STATES[state])
    if state == "open":
        allowed = or_(allowed, and_(old.state.not_in(UNCLOSED), old.closed_at < new.detected_at))
    connection.execute(
        row.on_conflict_do_update(
            index_elements=["exchange", "symbol", "first_id", "last_id"], set_=changed, where=allowed
        )
    )


def ledger_gaps(
    connection: Connection, symbol: str, states: tuple[GapState, ...] = UNCLOSED
) -> list[LedgerGap]:
    """The rows of a symbol in these states, the lowest ids first."""
    columns = data_gaps.c
    query = (
        select(columns.first_id, columns.last_id, columns.state, columns.closed_by)
        .where(columns.exchange == EXCHANGE, columns.symbol == symbol, columns.state.in_(states))
        .order_by(columns.first_id, columns.last_id)
    )
    return [
        LedgerGap(row.first_id, row.last_id, row.state, row.closed_by) for row in connection.execute(query)
    ]


def open_symbols(connection: Connection) -> dict[str, int]:
    """How many holes are not closed, by symbol."""
    query = (
        select(data_gaps.c.symbol, func.count().label("holes"))
        .where(data_gaps.c.exchange == EXCHANGE, data_gaps.c.state.in_(UNCLOSED))
        .group_by(data_gaps.c.symbol)
    )
    return {row.symbol: row.holes for row in connection.execute(query)}


def missing_ids(connection: Connection, symbol: str, first_id: int, last_id: int) -> list[tuple[int, int]]:
    """The stretches (first, last) of these ids that no stored trade covers, lowest first."""
    keys = {"exchange": EXCHANGE, "symbol": symbol, "first_id": first_id, "last_id": last_id}
    missing, at = [], first_id
    for row in connection.execute(_STORED, keys):
        if row.first_id > at:
            missing.append((at, row.first_id - 1))
        at = max(at, row.last_id + 1)
    return [*missing, (at, last_id)] if at <= last_id else missing


def neighbour_times(
    connection: Connection, symbol: str, first_id: int, last_id: int
) -> tuple[int | None, int | None]:
    """Times (ms) of the stored trades right before and right after these ids; None where there is none."""
    keys = {"exchange": EXCHANGE, "symbol": symbol, "first_id": first_id, "last_id": last_id}
    row = connection.execute(_NEIGHBOURS, keys).one()
    return (
        None if row.before is None else to_ms(row.before),
        None if row.after is None else to_ms(row.after),
    )


def close_covered(
    connection: Connection, symbol: str, now_ms: int, by: GapActor, states: tuple[GapState, ...]
) -> list[LedgerGap]:
    """Close the rows in these states of which every id is stored by now; returns them."""
    covered = [
        gap
        for gap in ledger_gaps(connection, symbol, states)
        if not missing_ids(connection, symbol, gap.first_id, gap.last_id)
    ]
    for gap in covered:
        note = "its trades are stored"
        record_gap(connection, symbol, gap.first_id, gap.last_id, "refilled", now_ms, by, note)
    return covered
