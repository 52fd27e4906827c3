"""Memory that was in use once goes back to the system."""

import ctypes
import sys

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
ARENAS = 2
LARGE_BYTES = 256 * 1024


def give_back() -> None:
    """To be called before threads begin. A burst of trades, such as an outage leaves behind, is taken by
    several threads; glibc gives each a heap of its own, and keeps it. With few heaps, and large blocks
    outside of them, the process is as large as what it holds. Elsewhere than on glibc it changes nothing."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
