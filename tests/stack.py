"""Driving `tcp` from outside, as a user does, in a home of its own."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from cli.stack.home import Home
from cli.stack.leftovers import marked, orphaned_postgres
from config.settings import PROJECT_ROOT


class Tcp:
    """The command line with one TCP_HOME; no setting of the outer environment gets in."""

    def __init__(self, home: Path, **variables: str) -> None:
        self.home = home
        outer = {name: value for name, value in os.environ.items() if not name.startswith("TCP_")}
        self.environment = {**outer, "TCP_HOME": str(home), **variables}
        self.command = [sys.executable, "-m", "cli.main"]

    def run(self, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        return subprocess.run(
            [*self.command, *arguments],
            cwd=PROJECT_ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def start(self, *arguments: str, output: Path) -> subprocess.Popen[bytes]:
        """Start in a session of its own, both streams to a file."""
        with output.open("ab") as stream:
            return subprocess.Popen(
                [*self.command, *arguments],
                cwd=PROJECT_ROOT,
                env=self.environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def status(self) -> dict[str, dict[str, Any]]:
        """Service → its row of `tcp status --json`."""
        document = json.loads(self.run("status", "--json").stdout)
        return {row["name"]: row for row in document["services"]}

    def living(self) -> list[str]:
        """Command lines of every process of this home."""
        data = self.home / "postgres"
        folder = data.resolve() / "data" if data.is_symlink() else data
        processes = [*marked(Home(self.home)), *orphaned_postgres(folder)]
        return [f"{process.pid} {_command_line(process)}" for process in processes]


@contextmanager
def home(folder: Path, **variables: str) -> Iterator[Tcp]:
    """A home that is stopped and removed at the end, the database under /var/lib included."""
    tcp = Tcp(folder, **variables)
    try:
        yield tcp
    finally:
        tcp.run("down")
        link = folder / "postgres"
        if link.is_symlink():
            shutil.rmtree(link.readlink(), ignore_errors=True)


def eventually(check: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first truthy result of `check`; fails, naming `what`, when none came in time."""
    deadline = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return "gone"
