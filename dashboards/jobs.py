"""Work asked for by people: one thread, a short queue, the state of each by id, and its end by request."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from uuid import uuid4

import structlog

from core.errors import Cancelled, TcpError, Unavailable
from core.stopping import stoppable
from dashboards.failures import told

QUEUE = 8
KEPT = 20
"""Jobs whose results are still here to be asked for; what ran is kept by the database."""

_log = structlog.get_logger("dashboards")


@dataclass(slots=True)
class Job:
    """A piece of work. state: waiting, running, cancelling, cancelled, done or failed; result: what the work
    returned, which stays in memory: only what is asked for later, no frames; step: what is being done, where
    the work says so; cancelled: by whom, in words, once somebody asked for its end; failure: what the work
    raised, without the frames it was raised in."""

    id: str = field(default_factory=lambda: uuid4().hex[:12])
    state: str = "waiting"
    step: str = ""
    cancelled: str = ""
    result: Any = None
    failure: BaseException | None = None
    is_last: bool = False
    future: "Future[Any] | None" = None
    lock: Lock = field(default_factory=Lock)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in {"cancelled", "done", "failed"}

    def check(self) -> None:
        """Called by the work on its way: Cancelled when somebody asked for its end."""
        if self.cancelled:
            raise Cancelled(self.cancelled)

    def reach(self, step: str, is_last: bool = False) -> None:
        """Called by the work as it begins a step; Cancelled as of `check`. is_last: the step that must not
        be left half-way, so that from now on nobody can end the work."""
        with self.lock:
            self.check()
            self.step, self.is_last = step, is_last

    def cancel(self, who: str) -> bool:
        """Ask for its end, at once while it waits, else when it next checks; False when it was asked for
        already. RunOver when it is too late. who: a line such as `the run was cancelled over the API`."""
        with self.lock:
            if self.cancelled and self.state in {"cancelling", "cancelled"}:
                return False
            if self.ended:
                raise RunOver(f"the run {self.id} is {self.state}: there is nothing to cancel")
            if self.is_last:
                raise RunOver(f"the run {self.id} is {self.step}: it is too late to cancel it")
            self.cancelled, self.state, waiting = who, "cancelling", self.future
        if waiting is not None:
            waiting.cancel()
        return True

    @property
    def error(self) -> str | None:
        """One line for the user; None as long as nothing went wrong."""
        return None if self.failure is None else told(self.failure)


class QueueFull(TcpError):
    """Too many runs are waiting."""


class RunOver(TcpError):
    """Somebody asked for the end of a run that has ended, or is about to."""


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
        job.future = self._pool.submit(self._run, job, work)
        job.future.add_done_callback(lambda done: self._finish(job, done))
        return job

    def get(self, job_id: str) -> Job | None:
        """The job of that id, or None when it is long gone."""
        return self._jobs.get(job_id)

    def close(self) -> None:
        """Drop what waits; what runs is left to end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def _run(job: Job, work: Callable[[], Any]) -> Any:
        with job.lock:
            job.check()
            job.state = "running"
        with stoppable(job.check):
            return work()

    @staticmethod
    def _finish(job: Job, future: "Future[Any]") -> None:
        with job.lock:
            job.future = None
            if future.cancelled():  # before it began
                error: BaseException | None = Unavailable("the dashboard was stopped")
                error = Cancelled(job.cancelled) if job.cancelled else error
            else:
                error = future.exception()
            if error is None:
                job.result, job.state = future.result(), "done"
                return
            if not isinstance(error, TcpError):
                _log.error("job_failed", job=job.id, exc_info=error)
            error.__context__ = error.__cause__ = None  # frames hold candles
            job.failure = error.with_traceback(None)
            job.state = "cancelled" if isinstance(error, Cancelled) else "failed"
