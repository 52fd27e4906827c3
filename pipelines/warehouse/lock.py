"""One daemon a database: an advisory lock that lives as long as its connection."""

import contextlib

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

DAEMON_LOCK = 7_205_003


class DaemonLock:
    """Held by the daemon that collects. When the server restarts the lock is gone: `hold` takes it again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
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
            connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": DAEMON_LOCK}).scalar()
        )
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
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": DAEMON_LOCK})
            connection.commit()
        connection.close()
