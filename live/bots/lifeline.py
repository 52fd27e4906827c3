"""A bot's process never outlives the daemon that started it."""

import ctypes
import os
import signal
import sys

PARENT_VARIABLE = "TCP_BOT_PARENT"
"""Process id of the daemon, set by it; without it (a bot started by hand) nothing is tied."""
_PR_SET_PDEATHSIG = 1


def parent() -> int | None:
    """The daemon's process id, if this process was started by one."""
    given = os.environ.get(PARENT_VARIABLE)
    return int(given) if given else None


def tie_to_parent() -> None:
    """Have the kernel kill this process when the daemon dies (Linux); elsewhere `is_orphan` tells."""
    if parent() is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if is_orphan():  # it died before we got here
        os.kill(os.getpid(), signal.SIGKILL)


def is_orphan() -> bool:
    """Whether the daemon that started this process is gone."""
    expected = parent()
    return expected is not None and os.getppid() != expected
