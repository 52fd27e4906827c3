"""Work that goes candle by candle asks on its way whether it is still wanted; it need not know by whom."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Check = Callable[[], None]
EVERY = 1024
"""Candles between two questions: a few milliseconds of a slow strategy."""

_check: ContextVar[Check] = ContextVar("check", default=lambda: None)


@contextmanager
def stoppable(check: Check) -> Iterator[None]:
    """Inside the block, in this thread, long work calls `check` now and then; what that raises ends it."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def check_in_force() -> Check:
    """What to call; outside of every `stoppable` it does nothing."""
    return _check.get()
