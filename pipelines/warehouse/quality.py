"""How good each connection to the exchange was, a row a minute."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Engine, delete, func, literal, select, tuple_
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


class QualityTotals(msgspec.Struct, frozen=True):
    """One connection over its last stored minutes. worst_p99_ms: None where no latency was measured"""

    connection: str
    minutes: int
    trades: int
    lost_ids: int
    reconnects: int
    silences: int
    unknown_frames: int
    worst_p99_ms: float | None


def quality_totals(engine: Engine, minutes: int = 60) -> list[QualityTotals]:
    """Each connection over the newest `minutes` minutes that there are."""
    columns = connection_quality.c
    newest = (
        select(columns.minute).distinct().order_by(columns.minute.desc()).limit(minutes).scalar_subquery()
    )
    sums = ("trades", "lost_ids", "reconnects", "silences", "unknown_frames")
    query = (
        select(
            columns.connection,
            func.count().label("minutes"),
            *(func.sum(columns[name]).label(name) for name in sums),
            func.max(columns.latency_p99_ms).label("worst_p99_ms"),
        )
        .where(columns.minute.in_(newest))
        .group_by(columns.connection)
        .order_by(columns.connection)
    )
    with engine.connect() as connection:
        return [
            QualityTotals(
                connection=row["connection"],
                minutes=row["minutes"],
                worst_p99_ms=row["worst_p99_ms"],
                **{name: int(row[name]) for name in sums},
            )
            for row in connection.execute(query).mappings()
        ]


def quality_rows(
    engine: Engine,
    limit: int,
    before: tuple[datetime, str] | None = None,
    span: tuple[datetime | None, datetime | None] = (None, None),
) -> list[dict[str, Any]]:
    """The newest rows, newest minute first; `before`: (minute, connection) of the last row seen; `span`:
    first and last minute, None for no limit."""
    table = connection_quality
    first, last = span
    query = select(table)
    if first is not None:
        query = query.where(table.c.minute >= first)
    if last is not None:
        query = query.where(table.c.minute <= last)
    if before is not None:
        query = query.where(tuple_(table.c.minute, table.c.connection) < tuple_(*map(literal, before)))
    query = query.order_by(table.c.minute.desc(), table.c.connection.desc()).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def daemon_details(engine: Engine, since_ms: int) -> Mapping[str, Any]:
    """What the daemon's last heartbeat says; empty when there was none since wall time `since_ms`."""
    query = select(heartbeats.c.details).where(
        heartbeats.c.component == "live", heartbeats.c.timestamp >= to_datetime(since_ms)
    )
    with engine.connect() as connection:
        return connection.execute(query).scalar() or {}
