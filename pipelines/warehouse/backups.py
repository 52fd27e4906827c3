"""When the database was last backed up, as it knows itself: whoever asks need not see the files."""

from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from pipelines.warehouse.tables import controls

VERIFIED = "verified_backup"
ASKED_FOR = "backups_asked_for"
OLD_BACKUP_S = 2 * 86_400
"""Dagster makes one a night: two were missed."""


def ask_for_backups(engine: Engine) -> None:
    """From now on, if not from an earlier call: what was backed up before anybody noted it is not known."""
    row = insert(controls).values(name=ASKED_FOR, value={})
    with engine.begin() as connection:
        connection.execute(row.on_conflict_do_nothing())


def note_backup(engine: Engine, file: str) -> None:
    """That the database was written to this file just now, and read back."""
    row = insert(controls).values(name=VERIFIED, value={"file": file})
    changes = {"value": row.excluded.value, "updated_at": func.now()}
    with engine.begin() as connection:
        connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=changes))


def backup_age_s(engine: Engine) -> float | None:
    """Seconds since the newest verified backup; without any, since they are asked for, and None where they
    never were, because no daemon ran on the database."""
    newest = select(func.max(controls.c.updated_at)).where(controls.c.name == VERIFIED).scalar_subquery()
    began = select(func.max(controls.c.updated_at)).where(controls.c.name == ASKED_FOR).scalar_subquery()
    with engine.connect() as connection:
        age = connection.scalar(select(func.extract("epoch", func.now() - func.coalesce(newest, began))))
    return None if age is None else float(age)
