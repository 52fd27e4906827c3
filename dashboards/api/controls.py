"""Routes that change something: bots' status and the kill switch."""

from contextlib import suppress
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from core.bot_states import Desired
from core.errors import BadInput, Unavailable
from dashboards.api.errors import NotFound
from dashboards.services import Services
from pipelines.warehouse.bots import announce, cancel_open_orders, set_status
from pipelines.warehouse.controls import kill_switch_is_on, set_kill_switch

DESIRED = {"start": Desired.ACTIVE, "stop": Desired.STOPPED, "pause": Desired.PAUSED}


class BotStatus(BaseModel):
    """What is wanted of a bot (status) and what it is doing (state)."""

    bot_id: str
    status: str
    state: str


class KillSwitch(BaseModel):
    """Whether all buying is stopped."""

    on: bool = Field(description="true: no bot buys until it is off again")


def router(services: Services) -> APIRouter:
    """POST /bot/{bot_id}/start|stop|pause, GET and POST /kill-switch."""
    routes = APIRouter(tags=["controls"])

    @routes.post("/bot/{bot_id}/{action}")
    async def control(bot_id: str, action: Literal["start", "stop", "pause"]) -> BotStatus:
        """Set what is wanted of a bot. The answer is the state now; it follows within seconds."""
        try:
            row = await services.query(set_status, bot_id, DESIRED[action])
        except BadInput as error:
            raise NotFound(str(error)) from None
        with suppress(Unavailable):  # the supervisor looks by itself too; the row is what counts
            await announce(services.bus, bot_id)
        services.hub.refresh_soon()
        return BotStatus(bot_id=row.name, status=row.status, state=row.state)

    @routes.get("/kill-switch")
    async def is_on() -> KillSwitch:
        """Whether the kill switch is on."""
        return KillSwitch(on=await services.query(kill_switch_is_on))

    @routes.post("/kill-switch")
    async def switch(wanted: KillSwitch) -> KillSwitch:
        """Turn it on (waiting orders are cancelled, nothing is bought) or off."""
        await services.query(set_kill_switch, wanted.on, "set over HTTP")
        if wanted.on:
            await services.query(cancel_open_orders, "the kill switch is on")
        services.hub.refresh_soon()
        return wanted

    return routes
