"""The folder of a local run (TCP_HOME) and what lies where in it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import BadInput

MARK = "TCP_STACK"
"""Variable that every process of a stack inherits; its value is the home. Leftovers are found by it."""


class Home:
    """Paths of one local run; the folder is made at the first use."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.logs = self.path / "logs"
        self.supervisor_config = self.path / "supervisord.conf"
        self.supervisor_pid = self.path / "supervisord.pid"
        self.dagster = self.path / "dagster"
        self.sim_state = self.path / "sim.json"
        self.started = self.path / "started.json"

    def make(self) -> None:
        """Create the folders, for their owner alone: logs tell of balances. One that is there stays as it is.
        BadInput when that is not possible."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for folder in (self.path, self.logs, self.dagster):
                folder.mkdir(mode=0o700, exist_ok=True)
            (self.path / ".changing").touch()
        except OSError as error:
            raise BadInput("TCP_HOME", f"{self.path} cannot be used: {error.strerror}") from None

    def log(self, service: str) -> Path:
        """The log file of a service."""
        return self.logs / f"{service}.log"

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Only one process at a time starts or stops servers; others wait for it."""
        with (self.path / ".changing").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def in_the_foreground(self) -> Iterator[None]:
        """Held by `tcp up` as long as it runs; a second one is refused. Death releases it."""
        path = self.path / ".up"
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BadInput(
                    "TCP_HOME", f"a `tcp up` already runs on {self.path}: stop it with Ctrl-C or `tcp down`"
                ) from None
            yield
