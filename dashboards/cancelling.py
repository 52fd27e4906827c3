"""Runs that a person ends before they are done: backtests here or in Dagster, sweeps wherever they are.

Asked for twice it is the same; a run that is over is refused. Who did it stands among the events.
"""

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.errors import Unavailable
from dashboards.backtests import Standing, standing
from dashboards.jobs import RunOver
from dashboards.queries import runs as queries
from dashboards.services import Services
from pipelines.warehouse import sweep_runs
from pipelines.warehouse.health import record_event

UNDER_WAY = frozenset({"cancelling", "cancelled"})
_log = structlog.get_logger("dashboards")


async def cancel_backtest(services: Services, run_id: str, where: str) -> str | None:
    """Ask for the end of a backtest and return its state then, cancelling or cancelled; None for a run that
    nobody knows. where: the words after `cancelled`, such as `over the API`.

    RunOver when it is done or failed, or is storing its result; Unavailable when Dagster, whose run it is,
    is away or refuses.
    """
    found = await standing(services, run_id)
    if found is None:
        return None
    if found.state in UNDER_WAY:
        return found.state
    job = services.jobs.get(run_id)
    asked = (
        await _terminated(services, found) if job is None else job.cancel(f"the run was cancelled {where}")
    )
    if asked:
        await _told(services, f"backtest {run_id} was cancelled {where}", run_id)
    now = await standing(services, run_id)
    return now.state if now and now.state in UNDER_WAY else "cancelling"


async def cancel_sweep(services: Services, sweep_id: str, where: str) -> str | None:
    """The same of a sweep, which ends with its chunk and can go on later."""
    asked = await services.query(sweep_runs.cancel_sweep, sweep_id, where)
    run = await services.query(queries.run, sweep_id)
    if run is None or run["kind"] != "sweep":
        return None
    state = str(run["status"])
    if asked:
        await _told(services, f"sweep {sweep_id} was cancelled {where}", sweep_id)
    elif state not in UNDER_WAY:
        raise _over("sweep", sweep_id, state)
    return state


async def _terminated(services: Services, run: Standing) -> bool:
    """Whether Dagster was asked; False when somebody else had asked it meanwhile."""
    if run.state in {"done", "failed"}:
        raise _over("run", run.id, run.state)
    refused = await asyncio.to_thread(services.dagster.terminate, run.id)
    if refused is None:
        return True
    now = await standing(services, run.id)
    if now is not None and now.state in {"done", "failed"}:
        raise _over("run", run.id, now.state)
    if now is not None and now.state in UNDER_WAY:
        return False
    raise Unavailable(f"Dagster does not cancel the run {run.id}: {refused}")


def _over(what: str, run_id: str, state: str) -> RunOver:
    return RunOver(f"the {what} {run_id} is {state}: there is nothing to cancel")


async def _told(services: Services, line: str, run_id: str) -> None:
    """The line among the events, if the database takes it: the run ends without it too."""
    services.wrote()
    try:
        await services.query(record_event, "info", "dashboard", "run_cancelled", line, {"run": run_id})
    except SQLAlchemyError as error:
        _log.warning("event_lost", message=line, error=str(error))
