"""Routes for backtests and sweeps: start one, list them, read one."""

import asyncio
import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError

from core.errors import TcpError
from dashboards import backtests
from dashboards.api import models
from dashboards.api.documents import Between, Cursor, Limit, Output, answer, next_cursor, read_cursor, table
from dashboards.api.errors import NotFound
from dashboards.dagster_runs import FAILED, WAITING, HandedRun
from dashboards.jobs import Job
from dashboards.queries import runs as queries
from dashboards.services import Services
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.result import BacktestResult
from pipelines.warehouse.run_notes import LONGEST, write_note

POLL_S = 0.05
_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""What Dagster calls its runs; ids of this process's jobs are shorter."""


class Note(BaseModel):
    """A person's words about a run."""

    note: str = Field(max_length=LONGEST)


class Started(BaseModel):
    """A backtest that is not done. state: waiting or running; step: what is being done; address: where
    Dagster shows it, if it runs there."""

    job: str
    state: str
    step: str | None = None
    address: str | None = None


UNDONE: dict[int | str, dict[str, Any]] = {202: {"model": Started, "description": "It is not done yet"}}


def router(services: Services) -> APIRouter:
    """POST /backtest, GET /backtest/results, /backtest/results/{test_id}, /sweeps, /sweeps/{sweep_id},
    PUT /backtest/results/{test_id}/note."""
    routes = APIRouter(tags=["backtests"])

    @routes.post("/backtest", response_model=models.Backtest, responses=UNDONE)
    async def start(
        values: Annotated[dict[str, Any], Body(description="Fields of BacktestRequest")],
        wait_s: Annotated[float, Query(ge=0, le=300, description="Longest wait for the result")] = 30,
    ) -> Response:
        """Run a backtest: the result (200), or a job (202) for /backtest/jobs/{job} when it takes longer.

        Fields: strategy, symbol, timeframe, start, end, parameters, fee, slippage, cash, fill. More than
        500,000 candles are a run of Dagster where that is up, with its `address`; else more than 2,000,000
        are refused."""
        begun = await backtests.start(services, BacktestRequest.read(values), BacktestResult.to_document)
        if isinstance(begun, HandedRun):
            return handed(begun, "waiting")
        await finished(begun, wait_s)
        return job_answer(begun)

    @routes.get("/backtest/jobs/{job_id}", response_model=models.Backtest, responses=UNDONE)
    async def job(job_id: str) -> Response:
        """A backtest that was started, of the last twenty here or by Dagster: its result (200), or its state
        (202); 503 while Dagster, whose run it is, is away."""
        found = services.jobs.get(job_id)
        if found is not None:
            return job_answer(found)
        if not _RUN_ID.fullmatch(job_id):
            raise NotFound(f"there is no job {job_id!r}")
        return await dagster_answer(job_id)

    @routes.get("/backtest/results", response_model=models.Runs)
    async def results(
        between: Between, limit: Limit = 50, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """Backtests that were run, newest first; `from` and `to`: when."""
        before = read_cursor(cursor, datetime, str)
        rows = await services.query(queries.runs, "backtest", limit, before, between)
        following = next_cursor(rows, limit, "created_at", "id")
        return table([_run(row) for row in rows], output, "backtests", following)

    @routes.get("/backtest/results/{test_id}", response_model=models.Backtest)
    async def result(test_id: str, output: Output = "json", equity: bool = False) -> Response:
        """One backtest with its trades; csv and parquet hold the trades; `equity=true` adds the curve."""
        document = await services.query(_document, test_id, equity)
        return (
            answer(document) if output == "json" else table(document["trades"], output, f"{test_id}-trades")
        )

    @routes.put("/backtest/results/{test_id}/note", response_model=Note)
    async def note(test_id: str, given: Note) -> Response:
        """Keep a note beside a run, in place of the one before; an empty one removes it."""
        kept = await services.query(write_note, test_id, given.note)
        if kept is None:
            raise NotFound(f"there is no run {test_id!r}")
        return answer({"note": kept})

    @routes.get("/sweeps", response_model=models.Runs)
    async def sweeps(
        between: Between, limit: Limit = 50, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """Sweeps that keep their rows here, newest first; `from` and `to`: when they were made."""
        before = read_cursor(cursor, datetime, str)
        rows = await services.query(queries.runs, "sweep", limit, before, between)
        following = next_cursor(rows, limit, "created_at", "id")
        return table([_run(row) for row in rows], output, "sweeps", following)

    @routes.get("/sweeps/{sweep_id}", response_model=models.Sweep)
    async def sweep(
        sweep_id: str, limit: Limit = 500, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """A sweep's combinations with their metrics, in the order they were made."""
        row = await services.query(queries.run, sweep_id)
        if row is None or row["kind"] != "sweep":
            raise NotFound(f"there is no sweep {sweep_id!r}")
        after = read_cursor(cursor, int)
        rows = await services.query(queries.sweep_rows, sweep_id, limit, after[0] if after else -1)
        items = [{name: value for name, value in row.items() if name != "sweep_id"} for row in rows]
        return table(items, output, f"sweep-{sweep_id}", next_cursor(rows, limit, "n"), **_run(row))

    def job_answer(job: Job) -> Response:
        if isinstance(job.failure, TcpError | SQLAlchemyError):
            raise job.failure.with_traceback(None)
        if job.failure is not None:  # the log has its stack
            return answer({"detail": job.error}, 500)
        if not job.ended:
            return answer({"job": job.id, "state": job.state, "step": job.step or None}, 202)
        return answer(job.result)

    @routes.get("/walk-forwards", response_model=models.Runs)
    async def walk_forwards(
        between: Between, limit: Limit = 50, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """Walk-forwards that were run, newest first; `from` and `to`: when."""
        before = read_cursor(cursor, datetime, str)
        rows = await services.query(queries.runs, "walk_forward", limit, before, between)
        following = next_cursor(rows, limit, "created_at", "id")
        return table([_run(row) for row in rows], output, "walk-forwards", following)

    async def dagster_answer(run_id: str) -> Response:
        found = await asyncio.to_thread(services.dagster.backtest, run_id)
        if found is None:
            raise NotFound(f"there is no job {run_id!r}")
        run, said, stored = found
        if said in FAILED:
            return answer({"detail": f"the run failed in Dagster, which says why: {run.address}"}, 500)
        if stored is None:
            return handed(run, "waiting" if said in WAITING else "running")
        return answer(await services.query(_document, stored, False))

    def handed(run: HandedRun, state: str) -> Response:
        return answer({"job": run.id, "state": state, "address": run.address}, 202)

    return routes


async def finished(job: Job, wait_s: float) -> None:
    """Return when the job is over, or after `wait_s`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    while not job.ended and loop.time() < deadline:
        await asyncio.sleep(POLL_S)


def _document(engine: Any, test_id: str, equity: bool) -> dict[str, Any]:
    """The contract's document of a stored backtest."""
    row = queries.run(engine, test_id)
    if row is None or row["kind"] != "backtest":
        raise NotFound(f"there is no backtest {test_id!r}")
    trades = queries.run_trades(engine, test_id)
    document = _run(row) | {
        "trades": [{name: value for name, value in trade.items() if name != "run_id"} for trade in trades]
    }
    if equity:
        document["equity"] = [
            {"timestamp": moment, "equity": value} for moment, value in queries.run_equity(engine, test_id)
        ]
    return document


def _run(row: dict[str, Any]) -> dict[str, Any]:
    """A stored run under the names of the contract."""
    names = {"strategy_name": "strategy", "parameters": "params", "start_time": "from", "end_time": "to"}
    return {names.get(name, name): value for name, value in row.items()}
