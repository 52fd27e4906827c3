"""By which definition each incremental model was built: model_builds."""

from collections.abc import Mapping

from sqlalchemy import Engine, func, select, text
from sqlalchemy.dialects.postgresql import insert

from pipelines.warehouse.tables import model_builds

_EXISTS = text("SELECT to_regclass(:name) IS NOT NULL")


def built_otherwise(engine: Engine, fingerprints: Mapping[str, str]) -> list[str]:
    """Of relations ("schema.table" → fingerprint of its definition) those that are there and were built by
    another definition, or by one that nobody noted."""
    with engine.connect() as connection:
        noted = {row.relation: row.fingerprint for row in connection.execute(select(model_builds))}
        return [
            relation
            for relation, fingerprint in fingerprints.items()
            if noted.get(relation) != fingerprint and connection.scalar(_EXISTS, {"name": relation})
        ]


def note_builds(engine: Engine, fingerprints: Mapping[str, str]) -> None:
    """Keep the definitions by which relations are built from now on."""
    rows = [{"relation": name, "fingerprint": fingerprint} for name, fingerprint in fingerprints.items()]
    statement = insert(model_builds).values(rows)
    changed = {"fingerprint": statement.excluded.fingerprint, "noted_at": func.now()}
    with engine.begin() as connection:
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["relation"],
                set_=changed,
                where=model_builds.c.fingerprint != statement.excluded.fingerprint,
            )
        )
