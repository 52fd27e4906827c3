"""How much room there is where this host writes: a full disk stops everything at once."""

import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import Any

from config.settings import Settings

EVERY_S = 30.0


class Disks:
    """Free bytes of the disks under TCP_HOME, a lake in a folder, and TCP_WAL_ARCHIVE where there is one."""

    def __init__(self, settings: Settings) -> None:
        self._folders = {"home": settings.home}
        lake = settings.lake_url.removeprefix("file://")
        if "://" not in lake:
            self._folders["lake"] = Path(lake)
        if settings.wal_archive is not None:
            self._folders["wal_archive"] = settings.wal_archive
        self._free: dict[str, int] = {}

    def health(self) -> dict[str, Any]:
        """For the heartbeat; plain JSON."""
        return {"disk_free_bytes": self._free}

    async def run(self) -> None:
        """Look, for ever: in a thread, because a network's disk may not answer."""
        while True:
            self._free = await asyncio.to_thread(self._look)
            await asyncio.sleep(EVERY_S)

    def _look(self) -> dict[str, int]:
        """A disk that answers with an error is left out: whoever writes there tells, and all else goes on."""
        found = {}
        for name, folder in self._folders.items():
            with contextlib.suppress(OSError):
                found[name] = _free(folder.absolute())
        return found


def _free(folder: Path) -> int:
    """Bytes on its disk, or on that of the next folder above it while it is not made yet. OSError where the
    disk answers with one, as a network's that is away does."""
    for path in (folder, *folder.parents):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return shutil.disk_usage(path).free
    raise FileNotFoundError(folder)
