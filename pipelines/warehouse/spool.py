"""What ties a spool on disk to its database: the database's own name, and how far the spool was drained.

Both live in `controls`. The position is written in the transaction that writes the drained data, so that a
kill between the two cannot repeat or lose any of it.
"""

import uuid

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from pipelines.warehouse.tables import controls

DATABASE_ID = "database_id"
POSITION = "spool_position"


def database_id(engine: Engine) -> str:
    """A name that this database keeps for ever, whatever its address; made at the first call."""
    row = insert(controls).values(name=DATABASE_ID, value={"id": uuid.uuid4().hex})
    with engine.begin() as connection:
        connection.execute(row.on_conflict_do_nothing())
        stored = connection.execute(select(controls.c.value).where(controls.c.name == DATABASE_ID))
        return str(stored.scalar_one()["id"])


def spool_position(connection: Connection) -> tuple[str, int] | None:
    """(segment id, offset in bytes) through which the spool was last drained; None before the first time."""
    value = connection.execute(select(controls.c.value).where(controls.c.name == POSITION)).scalar()
    return None if value is None else (str(value["segment"]), int(value["offset"]))


def record_spool_position(connection: Connection, segment: str, offset: int) -> None:
    """In the caller's transaction: everything before `offset` of that segment is written by now."""
    row = insert(controls).values(name=POSITION, value={"segment": segment, "offset": offset})
    update = {"value": row.excluded.value, "updated_at": func.now()}
    connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=update))
