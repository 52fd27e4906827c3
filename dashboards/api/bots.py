"""Routes of bots: the list, one bot, its trades, signals, value over time, its configuration, its end."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Body, Query, Response
from fastapi.responses import PlainTextResponse

from dashboards.api import models
from dashboards.api.documents import (
    MAX_LIMIT,
    Between,
    Cursor,
    Limit,
    Output,
    answer,
    is_within,
    next_cursor,
    paged,
    read_cursor,
    table,
)
from dashboards.api.errors import NotFound
from dashboards.bot_log import log_tail
from dashboards.queries import bots as queries
from dashboards.rows import api_row, day_start
from dashboards.services import Services
from pipelines.warehouse.bot_edits import delete_bot, undelete_bot, write_bot
from pipelines.warehouse.bot_versions import list_versions

_HIDDEN = ("bot_id",)


def router(services: Services) -> APIRouter:
    """GET /bots, /bot/{bot_id} and what belongs to it; PUT its configuration; DELETE it."""
    routes = APIRouter(tags=["bots"])

    async def bot_key(bot_id: str) -> int:
        row = await services.query(queries.bot, bot_id)
        if row is None:
            raise NotFound(f"there is no bot {bot_id!r}")
        return int(row["id"])

    async def overview(name: str | None = None, deleted: bool = False) -> list[dict[str, Any]]:
        rows = await services.query(queries.overview, day_start(services.hub.exchange_now()), name, deleted)
        return [api_row(row, services.hub.prices.get(row["symbol"]), services.hub.now()) for row in rows]

    @routes.get("/bots", response_model=models.Bots)
    async def list_bots(
        limit: Limit = MAX_LIMIT, cursor: Cursor = None, output: Output = "json", deleted: bool = False
    ) -> Response:
        """All bots with balance, profit, trades and last signal; `deleted`: those too that were deleted."""
        page, following = paged(await overview(deleted=deleted), limit, cursor, bot_id=str)
        return table(page, output, "bots", following)

    @routes.get("/bot/{bot_id}", response_model=models.Bot)
    async def one_bot(bot_id: str) -> Response:
        """One bot."""
        rows = await overview(bot_id)
        if not rows:
            raise NotFound(f"there is no bot {bot_id!r}")
        return answer(rows[0])

    @routes.get("/bot/{bot_id}/trades", response_model=models.Trades)
    async def trades(
        bot_id: str,
        between: Between,
        limit: Limit = 100,
        cursor: Cursor = None,
        side: Annotated[Literal["buy", "sell"] | None, Query(description="Only these")] = None,
        output: Output = "json",
    ) -> Response:
        """Fills, newest first."""
        key = await bot_key(bot_id)
        before = read_cursor(cursor, datetime, str)
        rows = await services.query(queries.fills, key, limit, before, side, between)
        following = next_cursor(rows, limit, "timestamp", "id")
        return table(_shown(rows), output, f"{bot_id}-trades", following)

    @routes.get("/bot/{bot_id}/signals", response_model=models.Signals)
    async def signals(
        bot_id: str,
        between: Between,
        limit: Limit = 100,
        cursor: Cursor = None,
        signal_type: Annotated[str | None, Query(alias="type", pattern="^(buy|sell|hold)$")] = None,
        output: Output = "json",
    ) -> Response:
        """What the strategy said at each candle, newest first; `type` keeps one kind."""
        key = await bot_key(bot_id)
        before = read_cursor(cursor, datetime, str)
        rows = await services.query(queries.signal_rows, key, limit, before, signal_type, between)
        following = next_cursor(rows, limit, "timestamp", "id")
        return table(_shown(rows), output, f"{bot_id}-signals", following)

    @routes.get("/bot/{bot_id}/performance", response_model=models.Values)
    async def performance(
        bot_id: str, between: Between, limit: Limit = 500, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """Value, cash, coins, trades and fees over time, newest first."""
        key = await bot_key(bot_id)
        before = read_cursor(cursor, datetime)
        rows = await services.query(
            queries.performance_rows, key, limit, before[0] if before else None, between
        )
        following = next_cursor(rows, limit, "timestamp")
        return table(_shown(rows), output, f"{bot_id}-performance", following)

    @routes.get("/bot/{bot_id}/crashes", response_model=models.Crashes)
    async def crashes(
        bot_id: str, between: Between, limit: Limit = 20, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """Crashes with the stack that was found, newest first."""
        key = await bot_key(bot_id)
        before = read_cursor(cursor, int)
        rows = await services.query(queries.crashes, key, limit, before[0] if before else None, between)
        return table(_shown(rows), output, f"{bot_id}-crashes", next_cursor(rows, limit, "id"))

    @routes.get("/bot/{bot_id}/log", response_class=PlainTextResponse)
    async def log(bot_id: str, lines: Limit = 400) -> PlainTextResponse:
        """The last lines that the bot's process wrote, where the daemon runs on this machine."""
        await bot_key(bot_id)
        return PlainTextResponse(log_tail(services.settings, bot_id, lines))

    @routes.get("/bot/{bot_id}/config", response_model=dict[str, Any])
    async def read_config(bot_id: str) -> Response:
        """The configuration in force, complete: strategy inline, defaults filled in."""
        row = await services.query(queries.bot, bot_id)
        if row is None:
            raise NotFound(f"there is no bot {bot_id!r}")
        return answer(row["config"])

    @routes.put("/bot/{bot_id}/config", response_model=dict[str, Any])
    async def write_config(bot_id: str, document: Annotated[dict[str, Any], Body()]) -> Response:
        """Check, store and write to config/bots; a new bot_id creates the bot. What is wrong: 422. A bot that
        runs goes on by it from its next candle."""
        stored = await services.query(write_bot, services.settings, bot_id, document, "api")
        await services.changed(bot_id)
        return answer(stored.document())

    @routes.get("/bot/{bot_id}/config/history", response_model=models.ConfigVersions)
    async def config_history(
        bot_id: str, between: Between, limit: Limit = 100, cursor: Cursor = None, output: Output = "json"
    ) -> Response:
        """Every configuration the bot had, newest first: when, from where, what changed, since when."""
        await bot_key(bot_id)
        versions = await services.query(list_versions, bot_id)
        rows = [msgspec.structs.asdict(each) for each in versions if is_within(each.created_at, between)]
        page, following = paged(rows, limit, cursor, newest_first=True, version=int)
        return table(page, output, f"{bot_id}-history", following)

    @routes.delete("/bot/{bot_id}", response_model=models.Deleted)
    async def delete(bot_id: str, purge: bool = False) -> Response:
        """Stop a bot and take it out of all lists; its history stays readable. `purge` forgets that too."""
        await bot_key(bot_id)
        await services.query(delete_bot, services.settings, bot_id, purge)
        await services.changed(bot_id)
        return answer({"bot_id": bot_id, "deleted": True, "purged": purge})

    @routes.post("/bot/{bot_id}/restore", response_model=models.Bot)
    async def restore(bot_id: str) -> Response:
        """Bring a deleted bot back, stopped."""
        await bot_key(bot_id)
        await services.query(undelete_bot, services.settings, bot_id)
        await services.changed(bot_id)
        return answer((await overview(bot_id))[0])

    return routes


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without the database's own key of the bot."""
    return [{name: value for name, value in row.items() if name not in _HIDDEN} for row in rows]
