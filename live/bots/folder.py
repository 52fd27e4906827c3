"""The folder of bot files, followed: a file that changes becomes the bot's next configuration."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from sqlalchemy import Engine

from config.settings import Settings
from core.errors import BadInput
from live.bots.files import Found, Unreadable
from live.bots.reports import Reports
from live.bots.threads import uninterrupted
from pipelines.warehouse.bot_files import folder_version
from pipelines.warehouse.bot_readings import identity_of
from pipelines.warehouse.bots import list_bots, save_bot

MOMENT_S = 1.0
"""For which a look at the bots waits for their files; what takes longer is taken in by a later look."""
AGAIN_S = 60.0
"""After which files that could not be read are read again, changed or not."""

ReadFiles = Callable[[Mapping[str, str | None]], Awaitable[Found]]
_Version = tuple[tuple[str, int, int], ...]


class BotFolder:
    """Looks at the files again whenever one of them has changed.

    A file that is wrong changes nothing: its bot keeps the configuration it has, and one event says which
    file, which field and what to do. A file whose bot was deleted is such a file. Nor does one count that is
    other than the configuration in force and is no news: see bot_readings.

    was_read: whether the files were ever brought to the database

    Parameters
    ----------
    read: reads the files where a strategy that hangs or dies harms nobody; see `BotProcesses.read_files`
    """

    def __init__(self, settings: Settings, engine: Engine, reports: Reports, read: ReadFiles) -> None:
        self._settings = settings
        self._engine = engine
        self._reports = reports
        self._read = read
        self._reading: asyncio.Task[Found] | None = None
        self._seen: _Version | None = None
        self._again_at: float | None = None
        self._problems: dict[str, str] = {}
        self._kept: set[Path] = set()
        self.was_read = False

    async def follow(self) -> None:
        """Files to rows, if there is anything new. DBAPIError when the database is away."""
        if self._reading is None and not await self._begin():
            return
        reading = self._reading
        assert reading is not None
        if not (await asyncio.wait([reading], timeout=MOMENT_S))[0]:
            return
        self._reading, seen, self._seen = None, self._seen, None  # what fails from here on is begun anew
        try:
            await self._store(reading.result())
        except Unreadable as error:
            self._again_at = asyncio.get_running_loop().time() + AGAIN_S
            await self._tell({str(self._settings.strategies_dir): str(error)})
        self._seen = seen

    async def close(self) -> None:
        """Read no more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _begin(self) -> bool:
        """Start to read, if there is anything new."""
        version = await uninterrupted(folder_version, self._settings)
        now = asyncio.get_running_loop().time()
        if version == self._seen and (self._again_at is None or now < self._again_at):
            return False
        owners = {row.name: row.config_file for row in await uninterrupted(list_bots, self._engine)}
        self._seen, self._again_at = version, None
        self._reading = asyncio.ensure_future(self._read(owners))
        return True

    async def _store(self, found: Found) -> None:
        problems = dict(found.problems)
        identity = await uninterrupted(identity_of, self._settings.home)
        for path, bot in found.files().items():
            try:
                saved = await uninterrupted(save_bot, self._engine, bot, path.name, "file", identity)
            except BadInput as error:
                problems[str(path)] = f"{path}: {error}"
                continue
            await self._tell_saved(path, bot.bot_id, saved)
        await self._tell(problems)
        self.was_read = True

    async def _tell_saved(self, path: Path, bot_id: str, saved: str) -> None:
        if saved in {"created", "changed"}:
            await self._reports.event("info", f"bot_{saved}", f"bot {bot_id} {saved} from {path.name}")
        if saved == "kept" and path not in self._kept:
            remedy = f"edit it, or put it in force as it is: `tcp bots configure {bot_id} {path}`"
            kept = f"{path}: differs from what is in force of bot {bot_id}, is no news, and does not count"
            await self._reports.event("warning", "bot_file_kept", f"{kept}: {remedy}")
        (self._kept.add if saved == "kept" else self._kept.discard)(path)

    async def _tell(self, problems: dict[str, str]) -> None:
        for path, problem in problems.items():
            if self._problems.get(path) != problem:
                await self._reports.event("error", "bot_file_refused", problem)
        self._problems = problems
