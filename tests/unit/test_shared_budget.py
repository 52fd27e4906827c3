"""Budgets in a file: processes count together, and nothing in the file can hold anybody up."""

import fcntl
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from pipelines.exchanges.okx.limits import REST_LIMITS, WINDOW_MARGIN_S
from pipelines.exchanges.okx.shared_budget import SharedBudget, shared_budgets

BOOT = "11111111-2222-3333-4444-555555555555"


class Monotonic:
    """Seconds that pass when told."""

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_two_holders_of_a_file_are_one_budget(tmp_path: Path):
    """Three places in 2 s between them: the fourth waits for the first, whoever took it."""
    clock = Monotonic()
    one, other = (SharedBudget(tmp_path / "b", 3, 2.0, clock, BOOT) for _ in range(2))
    assert [one.reserve(), other.reserve(), one.reserve()] == [0, 0, 0]
    clock.now += 0.5
    assert (other.reserve(), one.reserve()) == (pytest.approx(1.5), pytest.approx(1.5))
    clock.now += 10
    assert [one.reserve() for _ in range(3)] == [0, 0, 0]


def test_a_use_of_before_the_machine_started_counts_nothing(tmp_path: Path):
    """The monotonic clock begins anew then: old times would lie in the future."""
    old = SharedBudget(tmp_path / "b", 1, 2.0, Monotonic(500_000.0), BOOT)
    assert old.reserve() == 0
    again = SharedBudget(tmp_path / "b", 1, 2.0, Monotonic(50.0), BOOT.replace("1", "9"))
    assert again.reserve() == 0


@pytest.mark.parametrize("content", [b"", b"torn", b"\xff" * 36, b"x" * 10_000])
def test_a_file_of_anything_else_is_a_new_budget(tmp_path: Path, content: bytes):
    """Torn, short, of another format: it is written anew."""
    (tmp_path / "b").write_bytes(content)
    budget = SharedBudget(tmp_path / "b", 2, 2.0, Monotonic(), BOOT)
    assert [budget.reserve(), budget.reserve(), budget.reserve()] == [0, 0, pytest.approx(2.0)]


def test_a_holder_that_never_lets_go_is_not_waited_for(tmp_path: Path):
    """Somebody stopped with the lock in hand: after some milliseconds the process's own budget counts."""
    path = tmp_path / "b"
    path.touch()
    holder = os.open(path, os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    budget = SharedBudget(path, 2, 2.0, Monotonic(), BOOT)
    began = time.monotonic()
    assert [budget.reserve(), budget.reserve(), budget.reserve()] == [0, 0, pytest.approx(2.0)]
    assert time.monotonic() - began < 5
    os.close(holder)


def test_a_folder_that_cannot_be_written_leaves_the_process_its_own(tmp_path: Path):
    """A file where the folder should be."""
    (tmp_path / "folder").write_text("")
    budget = SharedBudget(tmp_path / "folder" / "b", 1, 2.0, Monotonic(), BOOT)
    assert [budget.reserve(), budget.reserve()] == [0, pytest.approx(2.0)]


def _use(path: Path, results: "multiprocessing.Queue[list[float]]") -> None:
    budget = SharedBudget(path, 7, 0.5)
    taken = []
    for _ in range(20):
        before = time.monotonic()
        wait = budget.reserve()
        taken.append((before + wait, time.monotonic() + wait))
    results.put(taken)


def test_processes_together_keep_the_limit(tmp_path: Path):
    """Four processes take 80 places at once: no window of half a second holds more than seven."""
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[list[tuple[float, float]]] = context.Queue()
    processes = [context.Process(target=_use, args=(tmp_path / "b", results)) for _ in range(4)]
    for process in processes:
        process.start()
    uses = [use for _ in processes for use in results.get(timeout=30)]
    for process in processes:
        process.join(30)
    assert len(uses) == 80
    # Each use is known to lie between two times: the lock may be waited for in between.
    earliest, latest = (sorted(times) for times in zip(*uses, strict=True))
    assert all(later - earlier > 0.499 for earlier, later in zip(earliest, latest[7:], strict=False))


def test_a_rate_of_0_has_no_budgets(tmp_path: Path):
    """For a simulated exchange without limits; otherwise every endpoint has one, each host its own."""
    assert shared_budgets(tmp_path, "http://a.example:1", 0) == {}
    one, other = (shared_budgets(tmp_path, f"http://{name}.example:1") for name in "ab")
    assert set(one) == set(REST_LIMITS) and one is not other
    path = "/api/v5/system/status"
    began = time.monotonic()
    assert (one[path].reserve(), other[path].reserve()) == (0, 0)
    wait_s = one[path].reserve()
    window_s = REST_LIMITS[path][1] + WINDOW_MARGIN_S
    assert window_s - (time.monotonic() - began) - 0.01 <= wait_s <= window_s
