"""Routes of the platform's own tables: events, holes in the trades, stored series, files of the lake."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from dashboards.api import models
from dashboards.api.documents import Between, Cursor, Limit, Output, next_cursor, read_cursor, table
from dashboards.queries import system as queries
from dashboards.services import Services

GapState = Literal["open", "refilling", "refilled", "unfillable"]
Level = Literal["info", "warning", "error"]


def router(services: Services) -> APIRouter:
    """GET /events, /data/gaps, /data/series, /data/lake."""
    routes = APIRouter(tags=["records"])

    @routes.get("/events", response_model=models.Events)
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

    @routes.get("/data/gaps", response_model=models.Gaps)
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

    @routes.get("/data/series", response_model=models.SeriesList)
    async def series(output: Output = "json") -> Response:
        """First and last candle of every stored symbol and timeframe."""
        return table(await services.query(queries.freshness), output, "series")

    @routes.get("/data/lake", response_model=models.LakeFiles)
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

    return routes
