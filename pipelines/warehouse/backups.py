"""When the database was last backed up, as it knows itself: whoever asks need not see the files."""

from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from pipelines.warehouse.spool import DATABASE_ID
from pipelines.warehouse.tables import controls

VERIFIED = "verified_backup"
OLD_BACKUP_S = 2 * 86_400
"""Dagster makes one a night: two were missed."""


def note_backup(engine: Engine, file: str) -> None:
    """That the database was written to this file just now, and read back."""
    row = insert(controls).values(name=VERIFIED, value={"file": file})
    changes = {"value": row.excluded.value, "updated_at": func.now()}
    with engine.begin() as connection:
        connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=changes))


def backup_age_s(engine: Engine) -> float | None:
    """Seconds since the newest verified backup; without any, since a daemon first ran on the database, and
    None where none ever did."""
    newest = select(func.max(controls.c.updated_at)).where(controls.c.name == VERIFIED).scalar_subquery()
    began = select(func.max(controls.c.updated_at)).where(controls.c.name == DATABASE_ID).scalar_subquery()
    with engine.connect() as connection:
        age = connection.scalar(select(func.extract("epoch", func.now() - func.coalesce(newest, began))))
    return None if age is None else float(age)
