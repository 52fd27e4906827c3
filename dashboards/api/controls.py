"""Routes that change something: bots' status."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from core.bot_states import Desired
from core.errors import BadInput
from dashboards.api.errors import NotFound
from dashboards.services import Services
from pipelines.warehouse.bots import set_status

DESIRED = {"start": Desired.ACTIVE, "stop": Desired.STOPPED, "pause": Desired.PAUSED}


class BotStatus(BaseModel):
    """What is wanted of a bot (status) and what it is doing (state)."""

    bot_id: str
    status: str
    state: str


def router(services: Services) -> APIRouter:
    """POST /bot/{bot_id}/start|stop|pause."""
    routes = APIRouter(tags=["controls"])

    @routes.post("/bot/{bot_id}/{action}")
    async def control(bot_id: str, action: Literal["start", "stop", "pause"]) -> BotStatus:
        """Set what is wanted of a bot. The answer is the state now; it follows within seconds."""
        try:
            row = await services.query(set_status, bot_id, DESIRED[action])
        except BadInput as error:
            raise NotFound(str(error)) from None
        await services.changed(bot_id)
        return BotStatus(bot_id=row.name, status=row.status, state=row.state)

    return routes
