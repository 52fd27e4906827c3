"""Two hosts with a daemon each on one database: one collects, the other one stands by and takes over."""

from collections.abc import Mapping
from pathlib import Path

from cli.stack import process
from tests.chaos_rig import START_S, Daemon

RESTART_S = 10.0
"""After which a daemon that ended is started again: by then the other one has its place."""


class Pair:
    """A `LiveDaemon` of two; each has a TCP_HOME of its own."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._both = [self._host(environment, folder, "a")]
        try:
            process.wait_until(lambda: self.pid is not None, START_S, "the first daemon")
            self._both.append(self._host(environment, folder, "b"))
            process.wait_until(lambda: self.waiting is not None, START_S, "the second daemon")
        except BaseException:
            self.stop()
            raise

    @staticmethod
    def _host(environment: Mapping[str, str], folder: Path, name: str) -> Daemon:
        own = {**environment, "TCP_HOME": str(folder / f"home-{name}")}
        return Daemon(own, folder / f"live-{name}.log", ("live", "--standby"), RESTART_S)

    @property
    def collecting(self) -> Daemon | None:
        """The one that has taken over."""
        return next((each for each in self._both if each.says("takes over")), None)

    @property
    def waiting(self) -> Daemon | None:
        """The one that stands by."""
        waiting = (each for each in self._both if each.says("standing by") and not each.says("takes over"))
        return next(waiting, None)

    @property
    def exits(self) -> list[int]:
        """Exit codes of both."""
        return [code for each in self._both for code in each.exits]

    @property
    def pid(self) -> int | None:
        """Of the one that collects."""
        return None if self.collecting is None else self.collecting.pid

    def says(self, event: str) -> bool:
        """Whether the one that collects has logged that event in this life."""
        return self.collecting is not None and self.collecting.says(event)

    def kill(self, collecting: bool, after_s: float) -> None:
        """SIGKILL to the one that collects, when another one stands by."""
        process.wait_until(
            lambda: self.waiting is not None and self.says("feed_live"),
            START_S,
            "one that collects and waits",
        )
        assert self.collecting is not None
        self.collecting.kill(collecting, after_s)

    def kill_waiting(self) -> None:
        """SIGKILL to the one that stands by."""
        process.wait_until(lambda: self.waiting is not None, START_S, "one that waits")
        assert self.waiting is not None
        self.waiting.kill(collecting=False, after_s=0)

    def stop(self) -> int:
        """SIGTERM to both, the one that waits first; the exit code of the other."""
        collecting = self.collecting
        for each in self._both:
            if each is not collecting:
                each.stop()
        return 0 if collecting is None else collecting.stop()
