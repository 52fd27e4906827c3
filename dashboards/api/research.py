"""Routes of what a run left on record, and of runs and bots side by side."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy import Engine

from dashboards import comparison
from dashboards.api import models
from dashboards.api.documents import Between, Cursor, Limit, Output, next_cursor, paged, read_cursor, table
from dashboards.api.errors import NotFound
from dashboards.queries import comparisons
from dashboards.queries import runs as queries
from dashboards.run_details import believed, sure_rows
from dashboards.services import Services
from dashboards.stretches import common, measured
from pipelines.reports.calendar import monthly

Of = Annotated[
    list[str], Query(min_length=1, max_length=comparison.MOST, description="Ids of runs, or bot:NAME")
]


def router(services: Services) -> APIRouter:
    """GET /backtest/results/{test_id}/equity, /signals, /months, /certainty, /walk-forwards/{run_id}, and
    /compare, /compare/differences."""
    routes = APIRouter(tags=["backtests"])

    @routes.get("/backtest/results/{test_id}/equity", response_model=models.Rows)
    async def equity(
        test_id: str, between: Between, limit: Limit = 500, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """The kept points of a backtest's curve beside the market's price, oldest first."""
        await kept(test_id, "backtest")
        after = read_cursor(cursor, datetime)
        rows = await services.query(queries.equity_rows, test_id, limit, after[0] if after else None, between)
        return table(rows, output, f"{test_id}-equity", next_cursor(rows, limit, "timestamp"))

    @routes.get("/backtest/results/{test_id}/signals", response_model=models.Rows)
    async def signals(
        test_id: str, between: Between, limit: Limit = 500, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """Signals of a backtest that an order followed, oldest first."""
        await kept(test_id, "backtest")
        after = read_cursor(cursor, datetime)
        rows = await services.query(queries.signal_rows, test_id, limit, after[0] if after else None, between)
        return table(rows, output, f"{test_id}-signals", next_cursor(rows, limit, "timestamp"))

    @routes.get("/backtest/results/{test_id}/months", response_model=models.Rows)
    async def months(
        test_id: str, limit: Limit = 500, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """Returns of a backtest by UTC month, a fraction each, oldest first; month 0 is the whole year."""
        run = await kept(test_id, "backtest")
        rows = await services.query(_months, test_id, float(run["initial_cash"]))
        page, following = paged(rows, limit, cursor, year=int, month=int)
        return table(page, output, f"{test_id}-months", following)

    @routes.get("/backtest/results/{test_id}/certainty", response_model=models.Rows)
    async def certainty(test_id: str, output: Output = "json") -> Response:
        """How sure the numbers of a backtest are: what was found with its 95 % interval, and the probability
        of skill before and after all variants tried; nothing for one that kept no curve."""
        run = await kept(test_id, "backtest")
        return table(await services.query(_certainty, run), output, f"{test_id}-certainty")

    @routes.get("/walk-forwards/{run_id}", response_model=models.Rows)
    async def windows(
        run_id: str, limit: Limit = 500, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """Windows of a walk-forward: what was trained on, what it chose, and how that did in the test."""
        await kept(run_id, "walk_forward")
        after = read_cursor(cursor, int)
        rows = await services.query(queries.windows, run_id, limit, after[0] if after else -1)
        return table(rows, output, f"walk-forward-{run_id}", next_cursor(rows, limit, "n"))

    @routes.get("/compare", response_model=models.Rows)
    async def compare(of: Of, output: Output = "json") -> Response:
        """Runs and bots side by side, a row each: their measures over the time that all have, else over its
        own; `from` and `to` say which."""
        return table(await services.query(_compared, of), output, "compare")

    @routes.get("/compare/differences", response_model=models.Rows)
    async def differences(of: Of, against: comparison.Against = "first", output: Output = "json") -> Response:
        """Whether they differ by more than luck: of each the mean advantage a year over the first of them, or
        over having bought and held its market, with interval and p-values; none where too little time is
        common to all."""
        rows = await services.query(comparison.differences, of, against)
        return table(rows, output, "compare-differences")

    async def kept(run_id: str, kind: str) -> dict[str, Any]:
        run = await services.query(queries.run, run_id)
        if run is None or run["kind"] != kind:
            raise NotFound(f"there is no {kind.replace('_', '-')} {run_id!r}")
        return run

    return routes


def _months(engine: Engine, run_id: str, cash: float) -> list[dict[str, Any]]:
    curve = comparisons.run_curve(engine, run_id)
    return [
        {"year": year, "month": month, "return": value}
        for year, months, whole in (monthly(curve, cash) if curve.height else [])
        for month, value in enumerate([whole, *months])
        if value is not None
    ]


def _certainty(engine: Engine, run: dict[str, Any]) -> list[dict[str, Any]]:
    curve = comparisons.run_curve(engine, run["id"])
    if curve.is_empty():
        return []
    return sure_rows(run, believed(engine, run, curve, queries.run_trades(engine, run["id"])))


def _compared(engine: Engine, chosen: Sequence[str]) -> list[dict[str, Any]]:
    columns = comparison.read(engine, chosen)
    stretch = common(columns)
    return [
        {
            "of": column.record.id,
            "name": column.name,
            "about": column.about,
            "from": (stretch or column.stretch)[0],
            "to": (stretch or column.stretch)[1],
            **{name: column.metrics.get(name) for name in comparison.SHOWN},
        }
        for column in measured(columns, stretch)
    ]
