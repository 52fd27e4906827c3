"""A PostgreSQL and a Redis of a test's own, to be hung, killed and started again."""

import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree

import psutil
from redis import Redis
from redis.exceptions import RedisError

from cli.stack import postgres, process, redis
from core.errors import Unavailable
from pipelines.warehouse.server import answers

KILLED = {**postgres.TESTS, "synchronous_commit": "on"}
"""What is acknowledged must survive the kill of the server, though not of the machine."""


class OwnServer:
    """A running server; its data survives `kill` and `start`."""

    def __init__(self, url: str, launch: Callable[[], "subprocess.Popen[bytes]"], ready: Callable[[], bool]):
        self.url = url
        self._launch = launch
        self._ready = ready
        self.start()

    def start(self) -> None:
        """Start and wait until it answers."""
        self._process = self._launch()
        process.wait_until(self._ready, 30, self.url)

    def kill(self) -> None:
        """As a crash does: all of its processes at once, nothing written any more."""
        for each in self._family():
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self._process.wait()

    def hang(self) -> None:
        """Let it take connections and statements and answer none of them."""
        for each in self._family():
            with suppress(psutil.NoSuchProcess):
                each.suspend()

    def resume(self) -> None:
        """End the hang."""
        for each in self._family():
            with suppress(psutil.NoSuchProcess):
                each.resume()

    def stop(self) -> None:
        """Stop it for good."""
        if self._process.poll() is None:
            self.resume()
            process.stop(self._process, signal.SIGINT)

    def _family(self) -> list[psutil.Process]:
        top = psutil.Process(self._process.pid)
        return [top, *top.children(recursive=True)]


@contextmanager
def own_postgres(options: Mapping[str, str] = KILLED, network: str | None = None) -> Iterator[OwnServer]:
    """An empty server; `url` is that of its maintenance database. network: of others that it lets in"""
    home = Path(tempfile.mkdtemp(prefix="tcp-own-"))
    server = postgres.PostgresServer(home, options)
    server.prepare()
    if network is not None:
        with (server.data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {network} scram-sha-256\n")
    url = server.url("postgres")
    running = OwnServer(
        url,
        lambda: process.start(
            server.command(), home / "postgres.log", server.account, with_parent=True, folder=server.folder
        ),
        lambda: answers(url),
    )
    try:
        yield running
    finally:
        running.stop()
        rmtree(server.folder, ignore_errors=True)
        rmtree(home, ignore_errors=True)


@contextmanager
def own_redis(options: Mapping[str, str] = redis.TESTS) -> Iterator[OwnServer]:
    """An empty server."""
    home = Path(tempfile.mkdtemp(prefix="tcp-own-"))
    server = redis.RedisServer(home, options)
    server.prepare()
    running = OwnServer(
        server.url(),
        lambda: process.start(server.command(), home / "redis.log", with_parent=True),
        lambda: _pongs(server.url()),
    )
    try:
        yield running
    finally:
        running.stop()
        rmtree(home, ignore_errors=True)


def _pongs(url: str) -> bool:
    try:
        with Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except (RedisError, Unavailable):
        return False
