"""That `tcp up` does not start is told as well: all that watches is a part of it, and would say nothing."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cli.problems import one_line
from config.settings import Settings
from core.errors import BadInput, TcpError
from pipelines.notifications.channels import Channels, urls


@contextmanager
def failure_told(settings: Settings) -> Iterator[None]:
    """What fails inside goes on to the caller; where it has lasted a minute over several tries, as systemd
    makes them, the addresses of `settings` are told once."""
    try:
        yield
    except (TcpError, OSError) as error:
        with suppress(BadInput):  # what is wrong with an address is said by `tcp notify`
            _tell(settings, one_line(str(error)))
        raise


def _tell(settings: Settings, reason: str) -> None:
    from cli.notify import watcher

    if addresses := urls(settings):
        watcher(settings, Channels(addresses)).not_started(reason)
