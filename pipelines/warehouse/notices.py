"""Events in the order they were stored, and what the watcher remembers of them."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import REGCLASS, insert

from pipelines.warehouse.tables import controls, system_events

NAME = "notifications"
PAGE = 500


def newest_event(engine: Engine) -> int:
    """Id of the newest event; 0 where there is none."""
    with engine.connect() as connection:
        return int(connection.scalar(select(func.max(system_events.c.id))) or 0)


def last_number(engine: Engine) -> int:
    """Highest id that an event of this database was ever given, whatever has been removed since."""
    sequence = func.pg_get_serial_sequence(system_events.name, system_events.c.id.name).cast(REGCLASS)
    with engine.connect() as connection:
        return int(connection.scalar(select(func.pg_sequence_last_value(sequence))) or 0)


def events_after(engine: Engine, number: int) -> Iterator[tuple[int, datetime, Mapping[str, Any]]]:
    """(id, time, row) of the events with a higher id, in order, at most PAGE."""
    query = select(system_events).where(system_events.c.id > number).order_by(system_events.c.id).limit(PAGE)
    with engine.connect() as connection:
        rows = connection.execute(query).mappings().all()
    for row in rows:
        yield int(row["id"]), row["timestamp"], dict(row)


def read_memory(engine: Engine) -> bytes | None:
    """The document that was written last, or None."""
    with engine.connect() as connection:
        value = connection.scalar(select(controls.c.value).where(controls.c.name == NAME))
    return None if value is None else msgspec.json.encode(value)


def write_memory(engine: Engine, document: bytes) -> None:
    """Keep it, in place of what was kept before."""
    row = insert(controls).values(name=NAME, value=msgspec.json.decode(document))
    changes = {"value": row.excluded.value, "updated_at": func.now()}
    with engine.begin() as connection:
        connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=changes))
