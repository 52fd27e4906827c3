"""Waiting for a condition instead of for a time."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool], seconds: float = 40) -> None:
    """Poll until it holds, in a thread, because it may ask a server; TimeoutError when it never does."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.02)
