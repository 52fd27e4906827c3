"""Routes for market data: candles, and whether the data is whole and fresh."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy import Engine

from core.timeframes import Timeframe
from dashboards.api import data_models, models
from dashboards.api.documents import (
    MAX_LIMIT,
    Between,
    Cursor,
    Limit,
    Output,
    answer,
    next_cursor,
    paged,
    read_cursor,
    table,
    utc,
)
from dashboards.api.errors import NotFound
from dashboards.feed import DAEMON_SILENT_MS
from dashboards.queries import data, system
from dashboards.queries import market as queries
from dashboards.rows import day_start
from dashboards.services import Services
from pipelines.bus.books import read_book
from pipelines.warehouse.quality import daemon_details, quality_rows, recent_quality

QUALITY_MINUTES = 30
DIFFERENCES = 50


def router(services: Services) -> APIRouter:
    """GET /market/{symbol}/history, /trades, /book, /data/health, /differences, /finality, /quality."""
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
        span = utc(start, "from"), utc(end, "to")
        rows = await services.query(
            queries.candle_rows, symbol, frame, limit, *span, before[0] if before else None
        )
        await refuse_unknown(symbol, rows)
        following = next_cursor(rows[::-1], limit, "timestamp")
        return table(rows, output, f"{symbol}-{frame}", following, symbol=symbol, timeframe=frame)

    @routes.get("/market/{symbol}/trades", response_model=models.Rows)
    async def trades(
        symbol: str, between: Between, limit: Limit = 100, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """Trades of the exchange that are still in the database, newest first; older days are in the lake."""
        before = read_cursor(cursor, int)
        rows = await services.query(queries.trade_rows, symbol, limit, before[0] if before else None, between)
        await refuse_unknown(symbol, rows)
        return table(rows, output, f"{symbol}-trades", next_cursor(rows, limit, "trade_id"))

    @routes.get("/market/{symbol}/book", response_model=models.Book)
    async def book(symbol: str, output: Output = "json") -> Response:
        """The five best levels of each side, refreshed four times a second; 404 where none is known. A file
        has a row for each level, the best bid first, then the best ask."""
        found = await read_book(services.bus, symbol)
        if found is None:
            raise NotFound(f"there is no order book of {symbol!r}")
        return answer(found) if output == "json" else table(_levels(found), output, f"{symbol}-book")

    @routes.get("/data/health", response_model=data_models.DataHealth)
    async def health() -> Response:
        """Heartbeats, the quality of the connections to the exchange now and by minute, first and last candle
        of every series, the newest holes in the trades and how many are open, how far candles were compared
        with the exchange's, the newest that differed and how many are not settled, the lake's files."""
        now_ms = services.hub.feed_now_ms()
        found = await services.query(_health, now_ms - DAEMON_SILENT_MS)
        return answer({**found, "feed": services.hub.feed.document(now_ms)})

    @routes.get("/data/differences", response_model=data_models.Differences)
    async def differences(
        between: Between,
        only_open: Annotated[bool, Query(alias="open", description="Only those not settled")] = False,
        limit: Limit = 100,
        cursor: Cursor = None,
        output: Output = "json",
    ) -> Response:
        """Candles that were not the exchange's own: both sides, why, and how it ended."""
        before = read_cursor(cursor, datetime, str, str)
        rows = await services.query(system.differences, limit, before, only_open, between)
        following = next_cursor(rows, limit, "timestamp", "symbol", "timeframe")
        return table(rows, output, "differences", following)

    @routes.get("/data/finality", response_model=models.Rows)
    async def finality(limit: Limit = MAX_LIMIT, cursor: Cursor = None, output: Output = "json") -> Response:
        """1m candles of today (UTC) of each symbol: how many, and of them provisional, revised, synthetic."""
        now = services.hub.exchange_now()
        symbols = await services.query(queries.symbols)
        rows = await services.query(data.finality, symbols, day_start(now), now)
        page, following = paged(rows, limit, cursor, symbol=str)
        return table(page, output, "finality", following)

    @routes.get("/data/quality", response_model=data_models.ConnectionMinutes)
    async def quality(
        between: Between, limit: Limit = 100, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """Latency, losses, cuts and silences of each connection to the exchange by minute, of 30 days."""
        rows = await services.query(quality_rows, limit, read_cursor(cursor, datetime, str), between)
        return table(rows, output, "quality", next_cursor(rows, limit, "minute", "connection"))

    async def refuse_unknown(symbol: str, rows: Sequence[object]) -> None:
        if not rows and symbol not in await services.query(queries.symbols):
            raise NotFound(f"there are no candles of {symbol!r}")

    return routes


def _levels(book: dict[str, Any]) -> list[dict[str, Any]]:
    """An order book as rows, each with the time of the whole."""
    shared = {"timestamp": book["timestamp"], "sequence": book["sequence"]}
    return [
        {"side": side, "level": n, "price": price, "size": size, **shared}
        for side, name in (("bid", "bids"), ("ask", "asks"))
        for n, (price, size) in enumerate(book[name], 1)
    ]


def _health(engine: Engine, since_ms: int) -> dict[str, Any]:
    """What the database knows of the data's health, the daemon's word only if it came after wall time
    `since_ms`. One read after another: at once they would take a connection each."""
    said = daemon_details(engine, since_ms)
    return {
        "connections": said.get("connections", []),
        "clock": said.get("clock"),
        "books": said.get("books"),
        "quality": recent_quality(engine, QUALITY_MINUTES),
        "components": system.components(engine),
        "series": system.freshness(engine),
        "gaps": system.gaps(engine),
        "trouble": system.trouble(engine),
        "reconciled": system.reconciled(engine),
        "differences": system.differences(engine, DIFFERENCES),
        "lake": system.lake_summary(engine),
    }
