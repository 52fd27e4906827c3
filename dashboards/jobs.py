"""Work asked for by people: one thread, a short queue, the state of each by id."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from uuid import uuid4

import structlog

from core.errors import TcpError, Unavailable
from dashboards.failures import told

QUEUE = 8
KEPT = 20
"""Jobs whose results are still here to be asked for; what ran is kept by the database."""

_log = structlog.get_logger("dashboards")


@dataclass(slots=True)
class Job:
    """A piece of work. state: waiting, running, done or failed; result: what the work returned, which stays
    in memory: only what is asked for later, no frames; step: what is being done, where the work
    says so; owner: who asked, a browser's session; failure: what the work raised, without the frames it was
    raised in."""

    id: str = field(default_factory=lambda: uuid4().hex[:12])
    owner: str = ""
    state: str = "waiting"
    step: str = ""
    result: Any = None
    failure: BaseException | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in {"done", "failed"}

    @property
    def error(self) -> str | None:
        """One line for the user; None as long as nothing went wrong."""
        return None if self.failure is None else told(self.failure)


class QueueFull(TcpError):
    """Too many runs are waiting."""


class Jobs:
    """Runs one piece of work at a time beside the web server, so that pages stay quick."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="backtest")
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = Lock()

    def submit(self, work: Callable[[], Any], job: Job | None = None) -> Job:
        """Queue the work and return its job at once; QueueFull when eight are waiting already. job: a new
        one that the work knows, to say in it what it is doing."""
        job = job or Job()
        with self._lock:
            waiting = sum(1 for job in self._jobs.values() if job.state == "waiting")
            if waiting >= QUEUE:
                raise QueueFull(f"{waiting} runs are waiting already: try again when one is done")
            self._jobs[job.id] = job
            while len(self._jobs) > KEPT:
                self._jobs.popitem(last=False)
        future = self._pool.submit(self._run, job, work)
        future.add_done_callback(lambda done: self._finish(job, done))
        return job

    def get(self, job_id: str) -> Job | None:
        """The job of that id, or None when it is long gone."""
        return self._jobs.get(job_id)

    def unfinished(self, owner: str) -> Job | None:
        """The newest job of somebody that has not ended."""
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.owner == owner and not job.ended]
        return jobs[-1] if jobs else None

    def close(self) -> None:
        """Drop what waits; what runs is left to end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def _run(job: Job, work: Callable[[], Any]) -> Any:
        job.state = "running"
        return work()

    @staticmethod
    def _finish(job: Job, future: "Future[Any]") -> None:
        if future.cancelled():
            job.failure, job.state = Unavailable("the dashboard was stopped"), "failed"
            return
        error = future.exception()
        if error is None:
            job.result, job.state = future.result(), "done"
            return
        if not isinstance(error, TcpError):
            _log.error("job_failed", job=job.id, exc_info=error)
        error.__context__ = error.__cause__ = None  # frames hold candles
        job.failure, job.state = error.with_traceback(None), "failed"
