"""Routes of the risk gate: orders with their vetoes, limits over all bots, halts, the kill switch."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, Field

from core.errors import BadInput
from dashboards.api.documents import (
    Between,
    Cursor,
    Limit,
    Output,
    answer,
    next_cursor,
    read_cursor,
    table,
)
from dashboards.api.errors import NotFound
from dashboards.services import Services
from pipelines.warehouse import risk
from pipelines.warehouse.bots import find_bot
from pipelines.warehouse.controls import kill_switch_is_on, switched_off_bots
from pipelines.warehouse.exposure import reset_portfolios
from pipelines.warehouse.kill_switch import switch


class KillSwitch(BaseModel):
    """Whether all trading is stopped, and the bots whose own switch is on."""

    on: bool = Field(description="true: no order of any bot leaves until it is off again")
    bots: list[str] = Field([], description="Bots whose own switch is on")


class Turn(BaseModel):
    """What to do with the kill switch."""

    on: bool = Field(description="true: withdraw what waits and veto every order; false: bots go on")
    flatten: bool = Field(False, description="With on: sell what the bots hold")
    bot_id: str | None = Field(None, description="Only this bot's switch; none: that of all")


class Turned(BaseModel):
    """What turning it did. sold: bots whose position was sold; unsold: bot → why its position was not."""

    on: bool
    bot_id: str | None = None
    cancelled: int = 0
    sold: list[str] = []
    unsold: dict[str, str] = {}


class Orders(BaseModel):
    """Newest first; `next` is the cursor of the following page."""

    items: list[dict[str, Any]]
    next: str | None


def router(services: Services) -> APIRouter:
    """GET and POST /kill-switch, GET and PUT /risk, POST /risk/reset, and /bot/{bot_id}/orders, /risk."""
    routes = APIRouter(tags=["risk"])
    _kill_switch(routes, services)
    _of_bots(routes, services)

    @routes.get("/risk", response_model=dict[str, Any])
    async def overview() -> Response:
        """Limits over all bots, how far they are used, switches, and bots that are halted."""
        return answer(await services.query(risk.overview))

    @routes.put("/risk", response_model=dict[str, Any])
    async def write(document: Annotated[dict[str, Any], Body()]) -> Response:
        """Check limits over all bots, put them in force and write config/risk.json. What is wrong: 422."""
        return answer(await services.query(risk.write_limits, services.settings, document))

    @routes.post("/risk/reset", response_model=dict[str, Any])
    async def reset() -> Response:
        """Lift the stops over all bots; losses are measured from here on."""
        return answer({"was_halted": await services.query(reset_portfolios)})

    return routes


def _kill_switch(routes: APIRouter, services: Services) -> None:
    @routes.get("/kill-switch", response_model_exclude_defaults=True)
    async def is_on() -> KillSwitch:
        """Whether the kill switch is on."""
        on = await services.query(kill_switch_is_on)
        return KillSwitch(on=on, bots=await services.query(switched_off_bots))

    @routes.post("/kill-switch", response_model_exclude_defaults=True)
    async def turn(wanted: Turn) -> Turned:
        """Turn it on (waiting orders are withdrawn, every order is vetoed) or off, for one bot or all."""
        if wanted.flatten and not wanted.on:
            raise BadInput("flatten", "sells when the switch is turned on: leave it out with on false")
        try:
            done = await services.query(switch, wanted.on, "set over HTTP", wanted.bot_id, wanted.flatten)
        except BadInput as error:
            raise NotFound(str(error)) from None
        services.wrote()
        return Turned(
            on=done.on, bot_id=done.bot, cancelled=done.cancelled, sold=list(done.sold), unsold=done.unsold
        )


def _of_bots(routes: APIRouter, services: Services) -> None:
    @routes.get("/bot/{bot_id}/orders", response_model=Orders)
    async def orders(
        bot_id: str,
        between: Between,
        limit: Limit = 100,
        cursor: Cursor = None,
        status: Annotated[str | None, Query(description="rejected: the vetoed ones, with reason")] = None,
        output: Output = "json",
    ) -> Response:
        """Orders, newest first; those that the risk gate vetoed are `rejected` with its reason."""
        key = await _key(services, bot_id)
        before = read_cursor(cursor, datetime, str)
        rows = await services.query(risk.order_rows, key, limit, before, status, between)
        return table(rows, output, f"{bot_id}-orders", next_cursor(rows, limit, "timestamp", "id"))

    @routes.get("/bot/{bot_id}/risk", response_model=dict[str, Any])
    async def gate(bot_id: str) -> Response:
        """How a bot stands with its limits: what they are measured against, halt, vetoes."""
        await _key(services, bot_id)
        return answer(await services.query(risk.bot_risk, bot_id))

    @routes.post("/bot/{bot_id}/risk/reset", response_model=dict[str, Any])
    async def reset(bot_id: str) -> Response:
        """Let a halted bot buy again; its losses are measured from here on."""
        await _key(services, bot_id)
        return answer({"was_halted": await services.query(risk.reset_bot, bot_id)})


async def _key(services: Services, bot_id: str) -> int:
    try:
        return int((await services.query(find_bot, bot_id)).id)
    except BadInput as error:
        raise NotFound(str(error)) from None
