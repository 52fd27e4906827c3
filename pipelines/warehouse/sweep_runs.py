"""Which sweeps are being walked: each holds a lock of its own in Postgres, given up by dying."""

from sqlalchemy import Engine, text

from pipelines.warehouse.bot_lease import Lease

SWEEP_LOCKS = 7_205_005
"""Seed of the locks' keys, apart from the fixed keys of other locks."""

_KEY = text("SELECT hashtextextended(:id, :seed)")
# pg_locks has the halves of a key in two columns; objsubid 1 says that it was one number.
_MARK = text("""
    UPDATE strategy_runs AS run
    SET status = 'interrupted', finished_at = now(),
        error = 'its process ended before it was done; it goes on with tcp sweep --resume '
            || coalesce(run.parameters ->> 'resume', run.id)
    WHERE kind = 'sweep' AND status = 'running' AND NOT EXISTS (
        SELECT FROM pg_locks AS held
        WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
          AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND held.classid::bigint << 32 | held.objid::bigint = hashtextextended(run.id, :seed)
    )
    RETURNING run.id
""")


def lease_of(engine: Engine, sweep_id: str) -> Lease:
    """The lock of a sweep, not yet taken. Who walks it takes it before the run is said to be running."""
    with engine.connect() as connection:
        key: int = connection.execute(_KEY, {"id": sweep_id, "seed": SWEEP_LOCKS}).scalar_one()
    return Lease(engine, key)


def mark_interrupted(engine: Engine) -> list[str]:
    """Say of sweeps that are running by their row, but that nobody walks any more, that they are interrupted
    and how they go on; their ids."""
    with engine.begin() as connection:
        return list(connection.execute(_MARK, {"seed": SWEEP_LOCKS}).scalars())
