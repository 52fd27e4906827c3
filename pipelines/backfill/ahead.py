"""Several requests under way, their results in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterable
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


async def ahead(work: Iterable[Coroutine[Any, Any, T]], count: int) -> AsyncGenerator[T, None]:
    """The results of `work` in its order, with up to `count` coroutines running before they are asked for.

    `work` is drawn from as places become free. The first error ends it; what runs then is cancelled.
    """
    remaining = iter(work)
    running = deque(asyncio.ensure_future(each) for each in islice(remaining, count))
    try:
        while running:
            result = await running[0]
            running.popleft()
            running.extend(asyncio.ensure_future(each) for each in islice(remaining, 1))
            yield result
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
