"""Which sweeps are being walked: each holds a lock of its own in Postgres, given up by dying. Whoever asks
for the end of one writes that into its row, where the walker looks with each chunk."""

from sqlalchemy import Connection, Engine, select, text

from core.errors import Cancelled
from pipelines.warehouse.bot_lease import Lease
from pipelines.warehouse.tables import strategy_runs

SWEEP_LOCKS = 7_205_005
"""Seed of the locks' keys, apart from the fixed keys of other locks."""

_KEY = text("SELECT hashtextextended(:id, :seed)")
# pg_locks has the halves of a key in two columns; objsubid 1 says that it was one number.
_MARK = text("""
    UPDATE strategy_runs AS run
    SET finished_at = now(),
        status = CASE status WHEN 'cancelling' THEN 'cancelled' ELSE 'interrupted' END,
        error = CASE status WHEN 'cancelling' THEN error
            ELSE 'its process ended before it was done; it goes on with tcp sweep --resume '
                || coalesce(run.parameters ->> 'resume', run.id) END
    WHERE kind = 'sweep' AND status IN ('running', 'cancelling') AND NOT EXISTS (
        SELECT FROM pg_locks AS held
        WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1
          AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND held.classid::bigint << 32 | held.objid::bigint = hashtextextended(run.id, :seed)
    )
    RETURNING run.id, run.status
""")
_CANCEL = text("""
    UPDATE strategy_runs AS run
    SET status = 'cancelling',
        error = 'cancelled ' || :place || '; it goes on with tcp sweep --resume '
            || coalesce(run.parameters ->> 'resume', run.id)
    WHERE id = :id AND kind = 'sweep' AND status = 'running'
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
        marked = connection.execute(_MARK, {"seed": SWEEP_LOCKS}).all()
    return [run.id for run in marked if run.status == "interrupted"]


def cancel_sweep(engine: Engine, sweep_id: str, place: str) -> bool:
    """Ask for the end of a sweep, wherever it is walked: it ends with its chunk, keeps what it has, and can
    go on. Whether anything was asked: False for one that is not running. place: where a person said so, such
    as `over the API`."""
    mark_interrupted(engine)
    with engine.begin() as connection:
        return bool(connection.execute(_CANCEL, {"id": sweep_id, "place": place}).rowcount)


def refuse_cancelled(connection: Connection, sweep_id: str) -> None:
    """Cancelled, with who did it, when somebody asked for the sweep's end; else nobody can until the
    transaction is over."""
    run = strategy_runs.c
    query = select(run.status, run.error).where(run.id == sweep_id).with_for_update()
    found = connection.execute(query).one()
    if found.status in {"cancelling", "cancelled"}:
        raise Cancelled(found.error)
