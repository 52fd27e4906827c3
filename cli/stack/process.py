"""Starting a server, waiting for it, stopping it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO

from cli.stack.accounts import Account
from core.errors import Unavailable

_PR_SET_PDEATHSIG = 1


def start(
    command: Sequence[str],
    log: Path | None,
    account: Account | None = None,
    with_parent: bool = False,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, its output appended to `log`; None: it goes where ours goes.

    `with_parent` (Linux): it is interrupted when the thread that started it ends, however that ends.
    """
    other = account is not None and account.name is not None
    with _appending(log) as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=folder or "/",
            env=environment,
            start_new_session=True,
            user=account.uid if account is not None and other else None,
            group=account.gid if account is not None and other else None,
            extra_groups=[] if other else None,
            preexec_fn=_die_with_parent if with_parent and sys.platform == "linux" else None,
        )


def _appending(log: Path | None) -> AbstractContextManager[IO[bytes] | None]:
    if log is None:
        return nullcontext()
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")


def wait_until(ready: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until `ready`; Unavailable names `what` when it takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise Unavailable(f"{what} did not answer within {seconds:g} s")
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGINT, seconds: float = 10) -> None:
    """End a server we started: ask with `how`, then kill."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(seconds)


def stop_groups(processes: Sequence[subprocess.Popen[bytes]], seconds: float = 10) -> None:
    """End processes made by `start` with all their descendants: SIGTERM to every group, and what is left of
    them after `seconds` is killed."""
    for process in processes:
        _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(_group_lives(process) for process in processes):
        time.sleep(0.05)
    for process in processes:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # a child that ended stays in its group until somebody asks
    return _signal_group(process, 0)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    """Signal the group that the process leads; False when nobody is left in it."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
