"""What the start needs from the exchange and the database, asked for until they answer."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError

from core.errors import Unavailable
from pipelines.warehouse.database import is_outage

T = TypeVar("T")

RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0)

_log = structlog.get_logger("collector")


async def until_it_answers(
    what: str, action: Callable[[], Awaitable[T]], delays_s: Sequence[float] = RETRY_S
) -> T:
    """The result of `action`, which is tried again while the exchange or Postgres is away; other errors are
    raised. `what` names it in the log."""
    failures = 0
    while True:
        try:
            return await action()
        except Unavailable as error:
            reason = str(error)
        except DBAPIError as error:
            if not is_outage(error):
                raise
            reason = str(error.orig).strip().split("\n")[0]
        delay_s = delays_s[min(failures, len(delays_s) - 1)]
        _log.warning("trying again", what=what, reason=reason, delay_s=delay_s)
        await asyncio.sleep(delay_s)
        failures += 1
