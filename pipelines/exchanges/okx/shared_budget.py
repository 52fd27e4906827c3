"""Request budgets that all processes of this machine share: the exchange counts an address, not a process.

A file for each endpoint holds the times of its last uses, under a lock of the operating system that lives as
long as its holder: a killed process holds up nobody. Times are those of the monotonic clock, which all
processes of a machine see alike until it is started anew.
"""

import fcntl
import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.exchanges.okx.limits import REST_LIMITS, WINDOW_MARGIN_S, Budget

LOCK_ATTEMPTS = 50
LOCK_PAUSE_S = 0.001
"""A lock is held for microseconds; whoever holds it for longer (stopped by a debugger) is not waited for."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SharedBudget(Budget):
    """A `Budget` whose uses are in a file. Where that cannot be used, the budget of this process counts."""

    def __init__(
        self,
        path: Path,
        limit: int,
        window_s: float,
        monotonic: Callable[[], float] = time.monotonic,
        boot: str | None = None,
    ) -> None:
        super().__init__(limit, window_s, monotonic)
        self._path = path
        self._boot = _boot_id() if boot is None else boot.encode()
        self._format = struct.Struct(f"<36s{limit}d")
        self._descriptor: int | None = None

    def reserve(self) -> float:
        """See Budget."""
        try:
            descriptor = self._locked()
        except OSError:
            return super().reserve()
        try:
            self._load(descriptor)
            delay = super().reserve()
            self._store(descriptor)
        except OSError:
            return super().reserve()
        finally:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        return delay

    def _locked(self) -> int:
        """The open file, locked; OSError when that takes too long."""
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        for attempt in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self._descriptor
            except BlockingIOError:
                if attempt == LOCK_ATTEMPTS - 1:
                    raise
                time.sleep(LOCK_PAUSE_S)
        raise BlockingIOError

    def _load(self, descriptor: int) -> None:
        written = os.pread(descriptor, self._format.size, 0)
        self._uses.clear()
        if len(written) == self._format.size:
            boot, *uses = self._format.unpack(written)
            # Times of before the machine was started again mean nothing now; 0 is an unused place.
            if boot.rstrip(b"\0") == self._boot:
                self._uses.extend(at for at in uses if at > 0)

    def _store(self, descriptor: int) -> None:
        unused = [0.0] * (self._limit - len(self._uses))
        os.pwrite(descriptor, self._format.pack(self._boot, *unused, *self._uses), 0)


@cache
def shared_budgets(folder: Path, base_url: str, rate: float = 1.0) -> dict[str, Budget]:
    """The budgets of every REST endpoint of a host, shared through files of `folder`. rate: multiplies OKX's
    limits; 0: there are none."""
    if rate == 0:
        return {}
    host = urlsplit(base_url).netloc.replace(":", "_")
    return {
        path: SharedBudget(
            folder / f"{host}-{path.removeprefix('/api/v5/').replace('/', '-')}",
            max(1, int(limit * rate)),
            seconds + WINDOW_MARGIN_S,
        )
        for path, (limit, seconds) in REST_LIMITS.items()
    }


def _boot_id() -> bytes:
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError:
        return b""
