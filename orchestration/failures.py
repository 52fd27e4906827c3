"""How expected failures look in Dagster: a mistake in a launch fails at once, an outage is retried."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from config.files import ConfigError
from core.errors import BadInput

OUTAGE_RETRIES = dg.RetryPolicy(max_retries=3, delay=10, backoff=dg.Backoff.EXPONENTIAL)
"""For calls to the exchange and to the database: 10, 20 and 40 s, longer than a restart of either takes."""


@contextmanager
def mistakes_fail_at_once() -> Iterator[None]:
    """Bad config, files or partitions fail the step with their one line, without retries."""
    try:
        yield
    except (BadInput, ConfigError) as error:
        raise dg.Failure(description=str(error), allow_retries=False) from error
