"""How good each connection to the exchange was, a row a minute."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects.postgresql import insert

from pipelines.warehouse.sql import to_datetime
from pipelines.warehouse.tables import connection_quality, heartbeats

KEPT_MS = 30 * 86_400_000


class QualityRow(msgspec.Struct, frozen=True):
    """One connection in one minute: the columns of `connection_quality` but for the minute."""

    connection: str
    url: str
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    messages: int
    trades: int
    repeated: int
    lost_ids: int
    unknown_frames: int
    reconnects: int
    silences: int
    clock_offset_ms: int | None


def record_quality(engine: Engine, minute_ms: int, rows: Sequence[QualityRow]) -> None:
    """Store the minute that began at wall time `minute_ms`, and forget those older than 30 days."""
    minute = to_datetime(minute_ms)
    table = connection_quality
    with engine.begin() as connection:
        for row in rows:
            values = {"minute": minute, **msgspec.structs.asdict(row)}
            connection.execute(insert(table).values(values).on_conflict_do_nothing())
        connection.execute(delete(table).where(table.c.minute < to_datetime(minute_ms - KEPT_MS)))


def recent_quality(engine: Engine, minutes: int) -> list[dict[str, Any]]:
    """The newest rows of each connection, newest minute first."""
    table = connection_quality
    newest = (
        select(table.c.minute).distinct().order_by(table.c.minute.desc()).limit(minutes).scalar_subquery()
    )
    query = select(table).where(table.c.minute.in_(newest))
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(table.c.minute.desc(), table.c.connection)).mappings()
        return [dict(row) for row in rows]


def daemon_details(engine: Engine, since_ms: int) -> Mapping[str, Any]:
    """What the daemon's last heartbeat says; empty when there was none since wall time `since_ms`."""
    query = select(heartbeats.c.details).where(
        heartbeats.c.component == "live", heartbeats.c.timestamp >= to_datetime(since_ms)
    )
    with engine.connect() as connection:
        return connection.execute(query).scalar() or {}
