"""What the supervisor tells others: events for people, states for pages."""

import structlog
from sqlalchemy import Engine

from core.bot_states import Actual
from core.errors import Unavailable
from live.bots.messages import status_message
from live.bots.threads import uninterrupted
from pipelines.bus.base import Bus
from pipelines.warehouse.bots import BotRow
from pipelines.warehouse.health import Level, record_event
from pipelines.warehouse.sql import storable

_LEVELS = {"info": 20, "warning": 30, "error": 40}

_log = structlog.get_logger("bots")


class Reports:
    """To the log, to system_events and to the bus; a bus that is away holds nobody up."""

    def __init__(self, engine: Engine, bus: Bus) -> None:
        self._engine = engine
        self._bus = bus

    async def event(self, level: Level, event: str, message: str) -> None:
        """Something people should know; an error is an alert. DBAPIError when the database is away."""
        message = storable(message)
        _log.log(_LEVELS[level], message, event_name=event)
        await uninterrupted(record_event, self._engine, level, "bots", event, message)
        document: dict[str, object] = {
            "level": level,
            "component": "bots",
            "event": event,
            "message": message,
        }
        await self._publish("system:events", document)

    async def state(self, row: BotRow, state: Actual) -> None:
        """A bot's state has changed."""
        await self._publish(*status_message(row.name, row.status.value, state.value, None, None, "state"))

    async def _publish(self, channel: str, message: dict[str, object]) -> None:
        try:
            await self._bus.publish(channel, message)
        except Unavailable as error:
            _log.debug("not published", channel=channel, error=str(error))
