"""Where a backtest that somebody asks for runs: a short one at once beside the web server, a long one in
Dagster where that is up, and one that would fill this process's memory nowhere else."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from core.errors import BadInput
from dashboards.dagster_runs import HandedRun
from dashboards.jobs import Job
from dashboards.queries import market as queries
from dashboards.services import Services
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.result import BacktestResult
from pipelines.backtest.run import STEPS, execute
from strategies import registry

SMALL = 500_000
"""Candles up to which a backtest runs at once: about a year of minutes, a second or two."""
MOST = 2_000_000
"""Candles up to which one runs in this process where no Dagster is up: nearly four years of minutes, which
take some hundred megabytes while they are read and walked."""


async def start(
    services: Services, request: BacktestRequest, keep: Callable[[BacktestResult], Any], owner: str = ""
) -> Job | HandedRun:
    """Begin it, here or in Dagster. keep: what of the result stays in memory to be asked for; owner: as of a
    job.

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
    job = Job(owner=owner)

    def note(step: str) -> None:
        job.step = step

    def work() -> Any:
        return keep(execute(request, services.settings.database_url, on_step=note))

    return services.jobs.submit(work, job)


def progress(job: Job | None) -> tuple[str, float]:
    """What is being done, in words, and the share of the steps that are behind it."""
    if job is not None and job.state == "waiting":
        return "waiting for the runs before it", 0.0
    if job is None or job.step not in STEPS:
        return "", 0.0
    place = STEPS.index(job.step)
    return f"{job.step}, step {place + 1} of {len(STEPS)}", place / len(STEPS)


def candles(request: BacktestRequest, first: datetime, last: datetime) -> int:
    """Candles that the request's stretch has room for between the first and the last that are stored."""
    begin, end = max(request.start or first, first), min(request.end or last, last)
    return max(0, (end - begin) // timedelta(milliseconds=request.candle_ms))


def _in_dagster(services: Services, request: BacktestRequest) -> HandedRun | None:
    if not services.dagster.is_up():
        return None
    config = request.model_dump(mode="json", exclude_none=True)
    return services.dagster.launch("backtest_job", "backtest", config)
