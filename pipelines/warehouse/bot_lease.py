"""At most one supervisor at a time: a session lock in Postgres, given up by dying."""

import structlog
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

SUPERVISOR_LOCK = 7_205_004
"""7_205_001 to 003 are taken: migrations, partitions, the daemon."""

_log = structlog.get_logger("bots")


class Lease:
    """Held on a connection of its own. A second daemon waits until the first is gone."""

    def __init__(self, engine: Engine, key: int = SUPERVISOR_LOCK) -> None:
        self._engine = engine
        self._key = key
        self._connection: Connection | None = None

    def hold(self) -> bool:
        """Take it or confirm that it is still ours. Raises DBAPIError when the database is away, and the
        lease with it."""
        try:
            if self._connection is None:
                connection = self._engine.connect()
                self._connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            # A session that has the lock gets it again, and says so.
            held = self._connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key})
            return bool(held.scalar_one())
        except DBAPIError:
            self.release()
            raise

    def release(self) -> None:
        """Give it up with its connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                # Closing the session would give it up too, but only when the server notices.
                connection.execute(text("SELECT pg_advisory_unlock_all()"))
            except SQLAlchemyError as error:  # of the driver, or because the session is gone already
                _log.debug("the lease went with its connection", error=str(error))
            connection.invalidate()
            connection.close()
