"""Progress as lines of a run's log."""

import time
from collections.abc import Callable

import dagster as dg

SECONDS = 5
"""Every line is a row in Dagster's database: a few of them tell as much as thousands."""


def told(context: dg.AssetExecutionContext, name: str) -> Callable[[object], None]:
    """Logs what it is called with as "NAME: WHAT", at most one line in five seconds."""
    last = time.monotonic()

    def tell(what: object) -> None:
        nonlocal last
        if time.monotonic() - last > SECONDS:
            last = time.monotonic()
            context.log.info(f"{name}: {what}")

    return tell
