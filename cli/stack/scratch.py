"""A PostgreSQL of the wheel for a moment, to try a backup on."""

import fcntl
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cli.stack import process
from cli.stack.postgres import PostgresServer

OPTIONS: Mapping[str, str] = {
    "shared_buffers": "64MB",
    "max_connections": "20",
    "maintenance_work_mem": "128MB",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
"""Fast and unsafe: the data is gone in a minute."""
START_S = 30


@contextmanager
def scratch_server(home: Path) -> Iterator[str]:
    """URL of the empty database `tcp` of an own server; one of a home at a time, others wait.

    What a killed run left is removed by the next.
    """
    from pipelines.warehouse.server import answers, ensure_database

    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = home / "scratch"
    with (home / ".scratch").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_server(folder)
        folder.mkdir()
        server = PostgresServer(folder, OPTIONS)
        server.prepare()
        log = folder / "postgres.log"
        running = process.start(server.command(), log, server.account, with_parent=True, folder=server.folder)
        try:
            url = server.url("postgres")
            process.wait_until(lambda: answers(url), START_S, f"the scratch server (log: {log})")
            yield ensure_database(url, "tcp")
        finally:
            process.stop(running, signal.SIGINT)
            remove_server(folder)


def remove_server(folder: Path) -> None:
    """Remove a home that held nothing but a server, its data below /var/lib included."""
    link = folder / "postgres"
    if link.is_symlink():
        shutil.rmtree(link.readlink(), ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
