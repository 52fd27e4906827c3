"""A Dask cluster on loopback, started with dask's own commands."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class DaskCluster:
    """A scheduler and its workers."""

    address: str
    folder: Path
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_worker(self) -> subprocess.Popen[bytes]:
        """Start one more worker."""
        arguments = ("worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard")
        place = ("--local-directory", str(self.folder), "--host", "127.0.0.1")
        log = (self.folder / f"worker-{len(self.workers)}.log").open("wb")
        with log:
            worker = subprocess.Popen([*_DASK, *arguments, *place], stdout=log, stderr=log, cwd=self.folder)
        self.workers.append(worker)
        return worker


_DASK = (str(Path(sys.executable).with_name("dask")),)


@contextmanager
def dask_cluster(port: int, folder: Path, workers: int) -> Iterator[DaskCluster]:
    """The cluster, ready when all of its workers are there; all of it is gone afterwards."""
    log = (folder / "scheduler.log").open("wb")
    with log:
        scheduler = subprocess.Popen(
            [
                *_DASK,
                "scheduler",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--dashboard-address",
                "127.0.0.1:0",
            ],
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    cluster = DaskCluster(f"127.0.0.1:{port}", folder, scheduler)
    try:
        for _ in range(workers):
            cluster.add_worker()
        _wait_for_workers(cluster, workers)
        yield cluster
    finally:
        for process in (*cluster.workers, scheduler):
            process.kill()
            process.wait()


def _wait_for_workers(cluster: DaskCluster, count: int) -> None:
    """Until the scheduler listens and so many have registered, by its log."""
    deadline, log = time.monotonic() + 90, cluster.folder / "scheduler.log"
    while "Scheduler at:" not in log.read_text() or log.read_text().count("Register worker") < count:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
