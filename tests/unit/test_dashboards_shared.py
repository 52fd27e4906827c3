"""Computations that many pages ask for at once."""

import asyncio
import gc
import weakref

import pytest

from dashboards.shared import Shared


class Counted:
    """A computation that says how often it was run."""

    def __init__(self, fails: bool = False) -> None:
        self.runs = 0
        self.fails = fails
        self.gate = asyncio.Event()

    async def __call__(self) -> int:
        self.runs += 1
        run = self.runs
        await self.gate.wait()
        if self.fails:
            raise ValueError("no")
        return run


async def test_twenty_who_ask_at_once_cost_one_computation():
    """All get the same result, also when the first of them leaves before it is there."""
    shared, work = Shared(), Counted()
    asking = [asyncio.create_task(shared.get("key", 5, work)) for _ in range(20)]
    await asyncio.sleep(0)
    asking[0].cancel()
    work.gate.set()
    assert await asyncio.gather(*asking[1:]) == [1] * 19
    assert await shared.get("key", 5, work) == 1
    assert await shared.get("other", 5, work) == 2


async def test_a_result_is_kept_for_its_moment_only():
    """After its time, and after a write, it is computed again."""
    shared, work = Shared(), Counted()
    work.gate.set()
    assert await shared.get("key", 0, work) == 1
    await asyncio.sleep(0.001)
    assert await shared.get("key", 60, work) == 2
    assert await shared.get("key", 60, work) == 2
    shared.forget()
    assert await shared.get("key", 60, work) == 3


async def test_a_failure_reaches_all_who_wait_and_is_not_kept():
    """The next one asks again."""
    shared, work = Shared(), Counted(fails=True)
    work.gate.set()
    found = await asyncio.gather(*(shared.get("key", 60, work) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in found] == ["no"] * 3
    work.fails = False
    assert await shared.get("key", 60, work) == 2


async def test_what_is_kept_is_bounded():
    """The oldest of many keys is forgotten, and whatever is of no use any more."""
    shared, work = Shared(kept=2), Counted()
    work.gate.set()
    for key in (1, 2, 3, 1):
        await shared.get(key, 60, work)
    assert work.runs == 4
    await shared.get("short", 0, work)
    kept = weakref.ref(shared._found["short"][1])
    await asyncio.sleep(0.001)
    await shared.get("other", 60, work)
    gc.collect()
    assert kept() is None


@pytest.mark.parametrize("leaving", [True, False])
async def test_a_computation_nobody_waits_for_any_more_still_ends(leaving):
    """Its result serves the next one."""
    shared, work = Shared(), Counted()
    asking = asyncio.create_task(shared.get("key", 60, work))
    await asyncio.sleep(0)
    if leaving:
        asking.cancel()
    work.gate.set()
    assert await shared.get("key", 60, work) == 1
    await asyncio.gather(asking, return_exceptions=True)
