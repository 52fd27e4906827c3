"""Routes of the platform's own tables: events, holes in the trades, stored series, files of the lake."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from dashboards.api import data_models, models
from dashboards.api.documents import (
    MAX_LIMIT,
    Between,
    Cursor,
    Limit,
    Output,
    next_cursor,
    paged,
    read_cursor,
    table,
)
from dashboards.api.errors import NotFound
from dashboards.component_states import Component, component_rows
from dashboards.dagster_runs import DagsterRun
from dashboards.queries import system as queries
from dashboards.services import Services

GapState = Literal["open", "refilling", "refilled", "unfillable"]
Level = Literal["info", "warning", "error"]


def router(services: Services) -> APIRouter:
    """GET /events, /data/gaps, /data/series, /data/lake, /dagster/runs, /components."""
    routes = APIRouter(tags=["records"])

    @routes.get("/events", response_model=data_models.Events)
    async def events(
        between: Between,
        limit: Limit = 100,
        cursor: Cursor = None,
        level: Annotated[Level | None, Query(description="Only these")] = None,
        output: Output = "json",
    ) -> Response:
        """What happened, newest first: outages, holes, crashes, halts, switches."""
        before = read_cursor(cursor, int)
        rows = await services.query(queries.events, limit, before[0] if before else None, level, between)
        return table(rows, output, "events", next_cursor(rows, limit, "id"))

    @routes.get("/data/gaps", response_model=data_models.Gaps)
    async def gaps(
        between: Between,
        limit: Limit = 100,
        cursor: Cursor = None,
        state: Annotated[GapState | None, Query(description="Only these")] = None,
        output: Output = "json",
    ) -> Response:
        """Holes in the trade ids, the newest found first, and how each ended."""
        before = read_cursor(cursor, datetime, str, int)
        rows = await services.query(queries.gap_rows, limit, before, state, between)
        return table(rows, output, "gaps", next_cursor(rows, limit, "detected_at", "symbol", "first_id"))

    @routes.get("/data/series", response_model=data_models.SeriesList)
    async def series(limit: Limit = MAX_LIMIT, cursor: Cursor = None, output: Output = "json") -> Response:
        """First and last candle of every stored symbol and timeframe."""
        rows = await services.query(queries.freshness)
        page, following = paged(rows, limit, cursor, symbol=str, timeframe=str)
        return table(page, output, "series", following)

    @routes.get("/data/lake", response_model=data_models.LakeFiles)
    async def lake(
        between: Between,
        limit: Limit = 500,
        cursor: Cursor = None,
        symbol: Annotated[str | None, Query(description="Only of this pair")] = None,
        output: Output = "json",
    ) -> Response:
        """Files of the lake by path: rows, bytes, ends and hash of each, as the manifest has them."""
        after = read_cursor(cursor, str)
        rows = await services.query(queries.lake_rows, limit, after[0] if after else None, symbol, between)
        return table(rows, output, "lake", next_cursor(rows, limit, "path"))

    @routes.get("/dagster/runs", response_model=models.Rows)
    async def dagster_runs(limit: Limit = 100, output: Output = "json") -> Response:
        """The newest runs of Dagster, the newest first; 404 where that of this installation is not up."""
        runs = await asyncio.to_thread(services.dagster.newest, limit)
        if runs is None:
            raise NotFound("Dagster of this installation is not up")
        return table([_dagster_row(run) for run in runs], output, "dagster-runs")

    @routes.get("/components", response_model=models.Rows)
    async def components(output: Output = "json") -> Response:
        """PostgreSQL and Redis, then whatever has a heartbeat with its connections: its state in a word, when
        it was last heard of (exchange time), and details."""
        hub, beats = services.hub, await services.query(queries.components)
        rows = component_rows(beats, hub.feed_now_ms(), hub.feed.database_error, hub.feed.bus_error)
        return table([_component(row) for row in rows], output, "components")

    return routes


def _component(row: Component) -> dict[str, Any]:
    """A line of the page's table without its colour."""
    name, _tone, word, heard_ms, detail = row
    heard = None if heard_ms is None else datetime.fromtimestamp(heard_ms / 1000, UTC)
    return {"component": name, "state": word, "heard": heard, "details": detail}


def _dagster_row(run: DagsterRun) -> dict[str, Any]:
    """A run with times instead of seconds."""
    times = {
        name: None if seconds is None else datetime.fromtimestamp(seconds, UTC)
        for name, seconds in (("asked", run.asked), ("began", run.began), ("ended", run.ended))
    }
    return asdict(run) | times
