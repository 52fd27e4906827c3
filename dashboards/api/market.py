"""Routes for market data: candles, and whether the data is whole and fresh."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from core.timeframes import Timeframe
from dashboards.api import models
from dashboards.api.bots import Cursor, Limit, Output
from dashboards.api.documents import answer, next_cursor, read_cursor, table, utc
from dashboards.api.errors import NotFound
from dashboards.queries import market as queries
from dashboards.queries import system
from dashboards.services import Services


def router(services: Services) -> APIRouter:
    """GET /market/{symbol}/history, /data/health."""
    routes = APIRouter(tags=["market"])

    @routes.get("/market/{symbol}/history", response_model=models.History)
    async def history(
        symbol: str,
        timeframe: str = "1m",
        start: Annotated[datetime | None, Query(alias="from", description="First close time")] = None,
        end: Annotated[datetime | None, Query(alias="to", description="Last close time")] = None,
        limit: Limit = 500,
        cursor: Cursor = None,
        output: Output = "json",
    ) -> Response:
        """The newest candles in the range, oldest first; `next` leads further back."""
        frame = Timeframe.parse(timeframe).value
        before = read_cursor(cursor, datetime)
        rows = await services.query(
            queries.candle_rows, symbol, frame, limit, utc(start), utc(end), before[0] if before else None
        )
        if not rows and symbol not in await services.query(queries.symbols):
            raise NotFound(f"there are no candles of {symbol!r}")
        following = next_cursor(rows[::-1], limit, "timestamp")
        return table(rows, output, f"{symbol}-{frame}", following, symbol=symbol, timeframe=frame)

    @routes.get("/data/health", response_model=models.DataHealth)
    async def health() -> Response:
        """Heartbeats, first and last candle of every series, holes in the trades, the lake's files."""
        return answer(
            {
                "feed": services.hub.feed.document(services.hub.feed_now_ms()),
                "components": await services.query(system.components),
                "series": await services.query(system.freshness),
                "gaps": await services.query(system.gaps),
                "lake": await services.query(system.lake_summary),
            }
        )

    return routes
