"""A bot's memory has an end, where an allocation fails inside the bot: its stack trace tells whose it was."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_LIMIT = resource.RLIM_INFINITY


def limit_memory(more_bytes: int) -> None:
    """Allow this process `more_bytes` of private memory beside what it has (Linux). The supervisor, which
    looks every two seconds, would come too late for a leak that is quick."""
    if sys.platform == "linux":
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (_private_bytes() + more_bytes, hard))


@contextmanager
def without_limit() -> Iterator[None]:
    """For storing the crash of a bot that ran into its limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    try:
        yield
    finally:
        if soft != _NO_LIMIT:
            resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _private_bytes() -> int:
    """Private memory that can be written, whether it is in use or not: what RLIMIT_DATA counts."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
