"""One daemon a database: an advisory lock that lives as long as its connection."""

import contextlib
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from core.errors import BadInput, Unavailable
from pipelines.warehouse.database import SERVER_KEEPALIVE, engine

DAEMON_LOCK = 7_205_003
ORDERS_LOCK = 7_205_005
NOTIFY_LOCK = 7_205_006
_ENDED_SOON = select(*(func.set_config(name, value, False) for name, value in SERVER_KEEPALIVE.items()))
"""A holder whose machine is gone loses the lock in 6 s, not in hours, whatever engine it came with."""
# As pg_locks has a key that is one number below 2**32.
_OURS = text("""
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 0 AND objid = :key AND objsubid = 1 AND granted AND pid = :pid
""")


class PlaceUnsure(Unavailable):
    """The session that held the lock is gone: another process may hold it by now."""


class DaemonLock:
    """Held by the daemon that collects. When the server restarts the lock is gone: `hold` takes it again.

    key: of the advisory lock, for other processes of which there is only one
    """

    def __init__(self, engine: Engine, key: int = DAEMON_LOCK) -> None:
        self._engine = engine
        self._key = key
        self._connection: Connection | None = None
        self._pid: int | None = None

    def hold(self) -> bool:
        """Take the lock, or see that it is still ours. False: another process has it.

        Raises sqlalchemy.exc.SQLAlchemyError while the server is away.
        """
        if self._connection is not None:
            try:
                self._connection.execute(text("SELECT 1"))
                self._connection.commit()
                return True
            except SQLAlchemyError:
                self.release()
        connection = self._engine.connect()
        taken = bool(
            connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}).scalar()
        )
        if taken:
            connection.execute(_ENDED_SOON)
            self._pid = connection.scalar(select(func.pg_backend_pid()))
        connection.commit()
        if not taken:
            connection.close()
            return False
        connection.detach()  # never handed to anybody else by the pool
        self._connection = connection
        return True

    def confirm(self, connection: Connection) -> None:
        """In a transaction of another connection, before it writes: PlaceUnsure when the session that held
        the lock is gone, as after this machine was cut off, until `hold` has taken the lock again."""
        if self._pid is None or not connection.scalar(_OURS, {"key": self._key, "pid": self._pid}):
            raise PlaceUnsure("the lock of this daemon is gone, another may work by now")

    def release(self) -> None:
        """Let go of it, with the connection."""
        connection, self._connection, self._pid = self._connection, None, None
        if connection is None:
            return
        # The server ends a session some time after its client has gone: unlock first, if it still answers.
        with contextlib.suppress(SQLAlchemyError):
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": self._key})
            connection.commit()
        connection.close()


@contextlib.contextmanager
def kept_from_running(url: str) -> Iterator[None]:
    """Neither a daemon nor the process that sends orders begins to work on the database meanwhile, on any
    host; BadInput while one does: what it knows would not be what is there afterwards."""
    with contextlib.ExitStack() as held:
        for key, name in ((DAEMON_LOCK, "a daemon"), (ORDERS_LOCK, "the process that sends orders")):
            lock = DaemonLock(engine(url), key)
            if not lock.hold():
                stop = "stop it first: `tcp down`, or its unit or container (docs/deploy.md, Restore)"
                raise BadInput("TCP_DATABASE_URL", f"{name} works on this database: {stop}")
            held.callback(lock.release)
        yield
