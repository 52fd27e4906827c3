"""One computation for all who ask for the same within a moment: twenty open pages that read the same tables
every few seconds cost as much as one."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

KEPT = 64


class Shared:
    """Results by key, each kept for a moment. What is shared is read only: nobody may change it."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._found: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def get(self, key: Hashable, seconds: float, compute: Callable[[], Awaitable[T]]) -> T:
        """What `compute` returns: asked once for all who come for the key while it computes, and until
        `seconds` after it was begun. What it raises reaches everybody who waits, and is not kept."""
        now = asyncio.get_running_loop().time()
        until, task = self._found.get(key, (0.0, None))
        if task is None or (task.done() and (now > until or _failed(task))):
            self._drop_old(now)
            task = asyncio.ensure_future(_running(compute))
            task.add_done_callback(_failed)  # looked at, also where everybody has left
            self._found[key] = (now + seconds, task)
        return await asyncio.shield(task)  # one who leaves does not end it for the others

    def _drop_old(self, now: float) -> None:
        """Charts are large: none is kept longer than it is of use."""
        old = [key for key, (until, task) in self._found.items() if task.done() and now > until]
        for key in old:
            del self._found[key]
        while len(self._found) >= self._kept:
            self._found.popitem(last=False)

    def forget(self) -> None:
        """Compute everything anew from here on: somebody wrote."""
        self._found.clear()


async def _running(compute: Callable[[], Awaitable[T]]) -> T:
    return await compute()


def _failed(task: "asyncio.Task[Any]") -> bool:
    return task.cancelled() or task.exception() is not None
