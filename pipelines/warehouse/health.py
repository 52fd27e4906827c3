"""Heartbeats and events: what each process says about itself, for others to watch."""

from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from core.errors import Unavailable
from pipelines.warehouse.sql import EXCHANGE, to_datetime, to_ms
from pipelines.warehouse.tables import heartbeats, market_data, system_events

Level = Literal["info", "warning", "error"]

FRESH_MS = 300_000
"""A process that has said nothing for five minutes knows no present."""
RESTART_MS = 60_000
"""A daemon that was silent for less may be starting again, and then goes on where it was."""
NOTIFY_SILENT_S = 600
"""As long as the alert rule waits for it."""
DAGSTER_SILENT_S = 600
"""Its sensor speaks every minute, later where runs keep the machine busy."""


def beat(
    engine: Engine, component: str, now_ms: int, exchange_ms: int | None, details: Mapping[str, Any]
) -> None:
    """Say that `component` lives at wall time `now_ms`; `details` is any JSON document."""
    row = insert(heartbeats).values(
        component=component,
        timestamp=to_datetime(now_ms),
        exchange_time=None if exchange_ms is None else to_datetime(exchange_ms),
        details=dict(details),
    )
    update = {name: row.excluded[name] for name in ("timestamp", "exchange_time", "details")}
    with engine.begin() as connection:
        connection.execute(row.on_conflict_do_update(index_elements=["component"], set_=update))


def exchange_ms(engine: Engine, wall_ms: int) -> int:
    """The exchange's present, ms since the epoch: its clock as a living process saw it last, or else the wall
    clock `wall_ms`. A simulated exchange may be anywhere."""
    latest = (
        select(heartbeats.c.exchange_time)
        .where(heartbeats.c.exchange_time.is_not(None))
        .where(heartbeats.c.timestamp > to_datetime(wall_ms - FRESH_MS))
        .order_by(heartbeats.c.timestamp.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        seen = connection.execute(latest).scalar()
    return wall_ms if seen is None else to_ms(seen)


def collected_through_ms(engine: Engine, symbol: str, wall_ms: int) -> int | None:
    """Close of the newest minute up to which the candles of a symbol are not the live collector's to store:
    what it has stored, or where it began. None when nobody collects the symbol.

    Unavailable while it starts to: where it will begin is not known.
    """
    said = select(heartbeats.c.details["symbols"][symbol]).where(
        heartbeats.c.component == "live",
        heartbeats.c.timestamp > to_datetime(wall_ms - RESTART_MS),
        heartbeats.c.details["exchange"].as_string() == EXCHANGE,
    )
    minute = market_data.c
    newest = select(minute.timestamp).where(
        minute.exchange == EXCHANGE,
        minute.symbol == symbol,
        minute.timeframe == "1m",
        minute.source != "exchange",
    )
    with engine.connect() as connection:
        stream = connection.execute(said).scalar() or {"state": "unlisted"}
        if stream["state"] == "unlisted":
            return None
        if stream["state"] == "starting":
            raise Unavailable(f"the daemon is about to collect {symbol}: try again when it does")
        start_ms: int = stream["start_ms"]
        own = newest.where(minute.timestamp > to_datetime(start_ms)).order_by(minute.timestamp.desc())
        stored = connection.execute(own.limit(1)).scalar()
    return start_ms if stored is None else to_ms(stored)


def record_event(
    engine: Engine,
    level: Level,
    component: str,
    event: str,
    message: str,
    details: Mapping[str, Any] | None = None,
    now_ms: int | None = None,
) -> None:
    """Append to system_events; the time is the server's unless `now_ms` (wall) is given."""
    with engine.begin() as connection:
        connection.execute(
            system_events.insert().values(
                timestamp=func.now() if now_ms is None else to_datetime(now_ms),
                level=level,
                component=component,
                event=event,
                message=message,
                details=dict(details or {}),
            )
        )
