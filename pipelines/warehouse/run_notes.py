"""What people write beside a run."""

from sqlalchemy import Engine, update

from core.errors import BadInput
from pipelines.warehouse.tables import strategy_runs

LONGEST = 500


def write_note(engine: Engine, run_id: str, text: str) -> str | None:
    """Keep the text (nothing: no note any more) in place of what was there; what is kept now, None where
    there is no such run.

    BadInput when it is longer than 500 characters.
    """
    said = text.replace("\x00", "").strip()
    if len(said) > LONGEST:
        raise BadInput("note", f"has {len(said):,} characters, must have at most {LONGEST}")
    with engine.begin() as connection:
        changed = update(strategy_runs).where(strategy_runs.c.id == run_id).values(note=said or None)
        return said if connection.execute(changed).rowcount else None
