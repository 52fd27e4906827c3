"""Measures all bots together and brings risk.json into force, inside the daemon."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from config.files import ConfigError
from config.settings import Settings
from core.clock import Clock
from core.errors import BadInput
from live.bots.threads import uninterrupted
from pipelines.warehouse.exposure import look
from pipelines.warehouse.health import Level
from pipelines.warehouse.risk import apply_limits_file, limits_file

LOOK_S = 2.0
Tell = Callable[[Level, str, str], None]

_log = structlog.get_logger("risk")


class RiskWatch:
    """Every two seconds: the file of the limits, if it changed, and the combined accounts, whose highest
    value and day would otherwise only be known when a bot wants to buy.

    Parameters
    ----------
    clock: the exchange's; tell: for events people should know of
    """

    def __init__(self, settings: Settings, engine: Engine, clock: Clock, tell: Tell) -> None:
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._tell = tell
        self._version: tuple[int, int] | None = None
        self._read = False

    async def run(self) -> None:
        """Until cancelled. While the database is away nothing is measured, and nothing is bought either."""
        while True:
            try:
                await self._look()
            except SQLAlchemyError as error:
                _log.debug("the database is away; the bots are not measured", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        version = _version(limits_file(self._settings))
        if version != self._version or (version is None and not self._read):
            await self._follow(version)
        for now, reached in await uninterrupted(look, self._engine, self._clock.now_ms()):
            if reached is not None:
                self._tell("error", "portfolio_stop", f"no bot buys with {now.quote}: {reached}")

    async def _follow(self, version: tuple[int, int] | None) -> None:
        """The file has changed. One that is wrong, or gone, leaves the limits in force as they are."""
        path = limits_file(self._settings)
        if version is None:
            if self._read:
                said = f"{path} is gone: its limits stay in force; put {{}} into it for none"
                self._tell("warning", "limits_file_gone", said)
        else:
            try:
                await uninterrupted(apply_limits_file, self._engine, self._settings)
            except (BadInput, ConfigError) as error:
                said = str(error) if isinstance(error, ConfigError) else f"{path}: {error}"
                self._tell("error", "limits_file_refused", f"{said}; the limits in force stay")
        self._version, self._read = version, True


def _version(path: Path) -> tuple[int, int] | None:
    """Something that changes with the file; None: there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size
