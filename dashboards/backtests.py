"""Where a backtest that somebody asks for runs: a short one at once beside the web server, a long one in
Dagster where that is up, and one that would fill this process's memory nowhere else."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.errors import BadInput, Cancelled
from dashboards.dagster_runs import CANCELLED, CANCELLING, DONE, FAILED, WAITING, HandedRun, RunFailed
from dashboards.jobs import Job
from dashboards.queries import market as queries
from dashboards.services import Services
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.result import BacktestResult
from pipelines.backtest.run import STEPS, STORE, execute
from strategies import registry

SMALL = 500_000
"""Candles up to which a backtest runs at once: about a year of minutes, a second or two."""
MOST = 2_000_000
"""Candles up to which one runs in this process where no Dagster is up: nearly four years of minutes, which
take some hundred megabytes while they are read and walked."""
_DAGSTERS_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What Dagster calls its runs; ids of this process's jobs are shorter."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a backtest is that somebody asked for.

    state: waiting, running, cancelling, cancelled, done or failed; step: what is being done, here; result:
    what was kept of it here, the stored backtest's id of one of Dagster's; failure: why there is none;
    address: where Dagster shows it, if it runs there
    """

    id: str
    state: str
    step: str = ""
    result: Any = None
    failure: BaseException | None = None
    address: str | None = None


async def start(
    services: Services, request: BacktestRequest, keep: Callable[[BacktestResult], Any]
) -> Job | HandedRun:
    """Begin it, here or in Dagster. keep: what of the result stays in memory to be asked for.

    BadInput for a strategy or parameter that is none, and for more candles than this process takes; QueueFull
    when too many wait.
    """
    registry.build(request.strategy, request.parameters, request.timeframe)
    stored = await services.query(queries.ends, request.symbol, request.timeframe, request.exchange)
    count = 0 if stored is None else candles(request, *stored)
    if count > SMALL and (run := await asyncio.to_thread(_in_dagster, services, request)):
        return run
    if count > MOST:
        raise BadInput(
            "start",
            f"{count:,} candles are more than the {MOST:,} that the dashboard walks itself: choose a later "
            "start or a longer timeframe, start Dagster (`tcp up`, `tcp dagster`), or use `tcp backtest`",
        )
    job = Job()

    def note(step: str) -> None:
        job.reach(step, is_last=step == STORE)

    def work() -> Any:
        return keep(execute(request, services.settings.database_url, on_step=note))

    return services.jobs.submit(work, job)


async def standing(services: Services, run_id: str) -> Standing | None:
    """How far it is, here or in Dagster, whose runs are known after a restart too; None for a run that nobody
    knows. Unavailable while Dagster, whose run it is, is away."""
    job = services.jobs.get(run_id)
    if job is not None:
        return Standing(job.id, job.state, job.step, job.result, job.failure)
    if not _DAGSTERS_ID.fullmatch(run_id):
        return None
    found = await asyncio.to_thread(services.dagster.backtest, run_id)
    return None if found is None else _of_dagster(*found)


def _of_dagster(run: HandedRun, said: str, stored: str | None) -> Standing:
    if said == CANCELLED:
        failure = Cancelled(f"the run was cancelled in Dagster, which shows it: {run.address}")
        return Standing(run.id, "cancelled", failure=failure, address=run.address)
    if said == FAILED or (said == DONE and stored is None):
        failed = RunFailed(f"the run failed in Dagster, which says why: {run.address}")
        return Standing(run.id, "failed", failure=failed, address=run.address)
    if stored is not None:
        return Standing(run.id, "done", result=stored, address=run.address)
    state = "waiting" if said in WAITING else "cancelling" if said == CANCELLING else "running"
    return Standing(run.id, state, address=run.address)


def progress(run: Standing) -> tuple[str, float]:
    """What is being done, in words, and the share of the steps that are behind it."""
    if run.state == "cancelling":
        return "cancelling", 0.0
    if run.address is not None:
        return f"{run.state} in Dagster", 0.0
    if run.state == "waiting":
        return "waiting for the runs before it", 0.0
    if run.step not in STEPS:
        return "", 0.0
    place = STEPS.index(run.step)
    return f"{run.step}, step {place + 1} of {len(STEPS)}", place / len(STEPS)


def candles(request: BacktestRequest, first: datetime, last: datetime) -> int:
    """Candles that the request's stretch has room for between the first and the last that are stored."""
    begin, end = max(request.start or first, first), min(request.end or last, last)
    return max(0, (end - begin) // timedelta(milliseconds=request.candle_ms))


def _in_dagster(services: Services, request: BacktestRequest) -> HandedRun | None:
    if not services.dagster.is_up():
        return None
    config = request.model_dump(mode="json", exclude_none=True)
    return services.dagster.launch("backtest_job", "backtest", config)
