"""One daemon a database: an advisory lock that lives as long as its connection."""

import contextlib
from collections.abc import Iterator

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from core.errors import BadInput
from pipelines.warehouse.database import engine

DAEMON_LOCK = 7_205_003
ORDERS_LOCK = 7_205_005
_ENDED_SOON = text("""
    SELECT set_config('tcp_keepalives_idle', '3', false), set_config('tcp_keepalives_interval', '1', false),
           set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '6000', false)
""")
"""The server looks by itself: a holder whose machine is gone loses the lock in 6 s, not in hours."""


class DaemonLock:
    """Held by the daemon that collects. When the server restarts the lock is gone: `hold` takes it again.

    key: of the advisory lock, for other processes of which there is only one
    """

    def __init__(self, engine: Engine, key: int = DAEMON_LOCK) -> None:
        self._engine = engine
        self._key = key
        self._connection: Connection | None = None

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
        connection.commit()
        if not taken:
            connection.close()
            return False
        connection.detach()  # never handed to anybody else by the pool
        self._connection = connection
        return True

    def release(self) -> None:
        """Let go of it, with the connection."""
        connection, self._connection = self._connection, None
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
