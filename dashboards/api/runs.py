"""Routes for backtests and sweeps: start one, list them, read one, end one before its time."""

import asyncio
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
from dashboards.backtests import Standing
from dashboards.cancelling import cancel_backtest, cancel_sweep
from dashboards.dagster_runs import HandedRun
from dashboards.failures import told
from dashboards.jobs import Job
from dashboards.queries import runs as queries
from dashboards.services import Services
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.result import BacktestResult
from pipelines.warehouse.run_notes import LONGEST, write_note

POLL_S = 0.05
OVER_THE_API = "over the API"


class Note(BaseModel):
    """A person's words about a run."""

    note: str = Field(max_length=LONGEST)


class Started(BaseModel):
    """A backtest that is not done. state: waiting, running or cancelling; step: what is being done; address:
    where Dagster shows it, if it runs there."""

    job: str
    state: str
    step: str | None = None
    address: str | None = None


class CancelledRun(BaseModel):
    """A run that somebody ended before it was done. state: cancelling, or cancelled once it has ended."""

    id: str
    state: str


UNDONE: dict[int | str, dict[str, Any]] = {202: {"model": Started, "description": "It is not done yet"}}


def router(services: Services) -> APIRouter:
    """POST /backtest, GET /backtest/jobs/{job_id}, /backtest/results, /backtest/results/{test_id}, /sweeps,
    /sweeps/{sweep_id}, POST /backtest/jobs/{job_id}/cancel, /sweeps/{sweep_id}/cancel,
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
            return await standing(Standing(begun.id, "waiting", address=begun.address))
        await finished(begun, wait_s)
        return await standing(Standing(begun.id, begun.state, begun.step, begun.result, begun.failure))

    @routes.get("/backtest/jobs/{job_id}", response_model=models.Backtest, responses=UNDONE)
    async def job(job_id: str) -> Response:
        """A backtest that was started, of the last twenty here or by Dagster: its result (200), or its state
        (202); 409 when it was cancelled, with who did it; 503 while Dagster, whose run it is, is away."""
        found = await backtests.standing(services, job_id)
        if found is None:
            raise NotFound(f"there is no job {job_id!r}")
        return await standing(found)

    @routes.post("/backtest/jobs/{job_id}/cancel", response_model=CancelledRun, status_code=202)
    async def cancel(job_id: str) -> Response:
        """End a backtest before it is done, at its next step or, of Dagster's, by its API: nothing of it is
        stored. The same again changes nothing; 409 for one that is over or is storing its result."""
        state = await cancel_backtest(services, job_id, OVER_THE_API)
        if state is None:
            raise NotFound(f"there is no job {job_id!r}")
        return answer({"id": job_id, "state": state}, 202)

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

    @routes.post("/sweeps/{sweep_id}/cancel", response_model=CancelledRun, status_code=202)
    async def stop(sweep_id: str) -> Response:
        """End a running sweep with its chunk, wherever it is walked; its rows stay, and `tcp sweep --resume`
        goes on. The same again changes nothing; 409 for one that is not running."""
        state = await cancel_sweep(services, sweep_id, OVER_THE_API)
        if state is None:
            raise NotFound(f"there is no sweep {sweep_id!r}")
        return answer({"id": sweep_id, "state": state}, 202)

    @routes.get("/walk-forwards", response_model=models.Runs)
    async def walk_forwards(
        between: Between, limit: Limit = 50, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """Walk-forwards that were run, newest first; `from` and `to`: when."""
        before = read_cursor(cursor, datetime, str)
        rows = await services.query(queries.runs, "walk_forward", limit, before, between)
        following = next_cursor(rows, limit, "created_at", "id")
        return table([_run(row) for row in rows], output, "walk-forwards", following)

    async def standing(run: Standing) -> Response:
        if isinstance(run.failure, TcpError | SQLAlchemyError):
            raise run.failure.with_traceback(None)
        if run.failure is not None:  # the log has its stack
            return answer({"detail": told(run.failure)}, 500)
        if run.state == "done":
            return answer(await services.query(_document, run.result, False) if run.address else run.result)
        more: dict[str, str | None] = {"address": run.address} if run.address else {"step": run.step or None}
        return answer({"job": run.id, "state": run.state, **more}, 202)

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
