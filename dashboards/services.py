"""What pages and routes are handed: settings, database, bus and hub of this process."""

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Engine

from config.settings import Settings
from core.errors import Unavailable
from dashboards.attempts import Attempts
from dashboards.backfills import Backfills
from dashboards.dagster_runs import DagsterRuns
from dashboards.hub import Hub
from dashboards.jobs import Jobs
from dashboards.shared import Shared
from pipelines.bus.base import Bus
from pipelines.warehouse.bots import announce

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Services:
    """The process's parts, wired once by `dashboards.app.create_app`."""

    settings: Settings
    engine: Engine
    bus: Bus
    hub: Hub
    jobs: Jobs
    backfills: Backfills
    attempts: Attempts
    dagster: DagsterRuns
    shared: Shared

    async def query(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Run a query function in a worker thread, with the engine as its first argument: the event loop
        that feeds every browser must not wait for the database."""
        return await asyncio.to_thread(function, self.engine, *arguments, **named)

    async def share(self, seconds: float, key: Hashable, function: Callable[..., T], *arguments: Any) -> T:
        """As `query`, once for all who ask for the same `key` of the function within that time."""
        return await self.shared.get((function, key), seconds, lambda: self.query(function, *arguments))

    async def changed(self, bot_id: str) -> None:
        """Something about a bot was stored: its processes are told, if the bus is there, and every page."""
        with suppress(Unavailable):  # the supervisor looks by itself too; the row is what counts
            await announce(self.bus, bot_id)
        self.wrote()

    def wrote(self) -> None:
        """Somebody changed what pages show: read it again now."""
        self.shared.forget()
        self.hub.refresh_soon()
