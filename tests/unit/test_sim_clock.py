"""The virtual clock: its rate, its memory, and the process that keeps it."""

import contextlib
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from config.settings import PROJECT_ROOT
from core.errors import BadInput
from pipelines.exchanges.sim.clock import ClockFile, VirtualClock, start_time
from pipelines.exchanges.sim.options import SimOptions, parse_speed

START_MS = 1_790_000_000_000


class Stopwatch:
    """A monotonic clock that is told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_virtual_time_runs_at_its_speed():
    """Ten wall seconds at speed 600 are 100 virtual minutes."""
    watch = Stopwatch()
    clock = VirtualClock(START_MS, 600.0, watch)
    watch.seconds += 10
    assert clock.now_ms() == START_MS + 6_000_000
    clock.advance_to(START_MS + 10**9)
    assert clock.now_ms() == START_MS + 6_000_000


def test_at_speed_max_the_clock_is_moved_and_never_back():
    """It stands until it is put forward."""
    clock = VirtualClock(START_MS, "max", Stopwatch())
    clock.advance_to(START_MS + 5)
    clock.advance_to(START_MS + 3)
    assert clock.now_ms() == START_MS + 5


def test_the_saved_time_is_a_floor(tmp_path: Path):
    """Chosen or not, a start never lies before what was shown; a torn file counts as none."""
    file = ClockFile(tmp_path / "state" / "clock.json")
    assert file.load() is None
    file.save(2_000)
    assert file.load() == 2_000
    (tmp_path / "state" / "clock.json").write_text('{"virt')
    assert file.load() is None
    assert start_time(1_000, None, None) == 1_000
    assert start_time(1_000, 500, None) == 500
    assert start_time(1_000, 500, 2_000) == 2_000
    assert start_time(3_000, None, 2_000) == 3_000


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`python -m pipelines.exchanges.sim …` and its REST address, killed at the end."""
    command = [sys.executable, "-m", "pipelines.exchanges.sim", *arguments]
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield running, json.loads(running.stdout.readline())["rest"]
        finally:
            with contextlib.suppress(ProcessLookupError):
                running.kill()


def virtual_time(rest: str) -> int:
    with urllib.request.urlopen(f"{rest}/api/v5/public/time") as answer:
        return int(json.load(answer)["data"][0]["ts"])


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_restart_never_turns_time_back(tmp_path: Path, ending: signal.Signals):
    """Killed or stopped at speed 3000, the next process begins where the last one was, or after it."""
    arguments = ["--speed", "3000", "--state-file", str(tmp_path / "clock.json"), "--rate-limit", "0"]
    with process(*arguments, "--start-ms", str(START_MS)) as (running, rest):
        shown = virtual_time(rest)
        while (later := virtual_time(rest)) < shown + 2_000_000:
            pass
        running.send_signal(ending)
        assert running.wait(10) == (0 if ending == signal.SIGTERM else -ending)
    with process(*arguments, "--start-ms", str(START_MS)) as (_, rest):
        assert virtual_time(rest) >= later


@pytest.mark.parametrize(
    "wrong", [{"speed": 0.0}, {"speed": -1.0}, {"port": 70_000}, {"activity": 0.0}, {"rate_limit": -1.0}]
)
def test_impossible_options_are_refused(wrong):
    """One line that names the option."""
    with pytest.raises(BadInput, match=next(iter(wrong)).replace("_", "-")):
        SimOptions(**wrong)


def test_a_speed_is_a_number_or_max():
    """What a user types on the command line."""
    assert (parse_speed("max"), parse_speed("2.5")) == ("max", 2.5)
    with pytest.raises(BadInput, match="speed"):
        parse_speed("fast")
