"""The ledger of holes in the trade sequence: data_gaps."""

from typing import Literal

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert

from pipelines.warehouse.sql import EXCHANGE, to_datetime
from pipelines.warehouse.tables import data_gaps

GapState = Literal["open", "filled", "unfillable"]


def record_gap(
    connection: Connection,
    symbol: str,
    first_id: int,
    last_id: int,
    state: GapState,
    now_ms: int,
    note: str | None = None,
) -> None:
    """Write the state of the hole first_id … last_id (both missing) at exchange time `now_ms`."""
    at = to_datetime(now_ms)
    row = insert(data_gaps).values(
        exchange=EXCHANGE,
        symbol=symbol,
        first_id=first_id,
        last_id=last_id,
        state=state,
        detected_at=at,
        closed_at=None if state == "open" else at,
        note=note,
    )
    update = {name: row.excluded[name] for name in ("state", "closed_at", "note")}
    connection.execute(
        row.on_conflict_do_update(index_elements=["exchange", "symbol", "first_id", "last_id"], set_=update)
    )


def open_gaps(connection: Connection) -> list[tuple[str, int, int]]:
    """(symbol, first_id, last_id) of every hole that is still open, oldest first."""
    query = (
        select(data_gaps.c.symbol, data_gaps.c.first_id, data_gaps.c.last_id)
        .where(data_gaps.c.exchange == EXCHANGE, data_gaps.c.state == "open")
        .order_by(data_gaps.c.detected_at)
    )
    return [(row.symbol, row.first_id, row.last_id) for row in connection.execute(query)]
