"""A psycopg connection that does not wait for ever for a server that hangs."""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

T = TypeVar("T")


class BoundedConnection(psycopg.Connection[Any]):
    """A stopped server, or one behind a broken network, takes a statement and never answers, and no option of
    libpq bounds that wait: after `answer_s` this connection closes itself and raises OperationalError.

    The bound is on each wait (a statement, a piece of a COPY, a commit), not on the whole transaction.
    """

    answer_s: float | None = None

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """As psycopg's, bounded when the caller does not bound it."""
        if timeout is not None or self.answer_s is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_s)
        except psycopg.errors._WaitTimeout:
            self.close()
            raise psycopg.OperationalError(f"no answer within {self.answer_s:g} s") from None
