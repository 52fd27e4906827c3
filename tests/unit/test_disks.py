"""How much room there is, whatever a disk answers."""

import asyncio
import contextlib

from config.settings import Settings
from live.disks import Disks


async def test_disk_that_answers_with_an_error_is_left_out(tmp_path):
    """The others are measured, a folder that is not made yet by those above it, and the part goes on: its end
    would be the end of the daemon."""
    refused = tmp_path / ("x" * 300)  # the file system itself refuses to look, as a stale mount does
    disks = Disks(Settings(home=tmp_path, lake_url=str(tmp_path / "not" / "made"), wal_archive=refused))
    running = asyncio.create_task(disks.run())
    try:
        async with asyncio.timeout(10):
            while not disks.health()["disk_free_bytes"] and not running.done():
                await asyncio.sleep(0.01)
        assert set(disks.health()["disk_free_bytes"]) == {"home", "lake"}
        assert not running.done()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
