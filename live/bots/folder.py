"""The folder of bot files, followed: a file that changes becomes the bot's next configuration."""

from pathlib import Path

from sqlalchemy import Engine

from config.settings import Settings
from core.errors import BadInput
from live.bots.reports import Reports
from live.bots.threads import uninterrupted
from pipelines.warehouse.bot_files import folder_version, read_folder
from pipelines.warehouse.bots import list_bots, save_bot


class BotFolder:
    """Looks at the files again whenever one of them has changed.

    A file that is wrong changes nothing: its bot keeps the configuration it has, and one event says which
    file, which field and what to do. A file whose bot was deleted is such a file.
    """

    def __init__(self, settings: Settings, engine: Engine, reports: Reports) -> None:
        self._settings = settings
        self._engine = engine
        self._reports = reports
        self._version: tuple[tuple[str, int, int], ...] | None = None
        self._problems: dict[Path, str] = {}

    @property
    def was_read(self) -> bool:
        """Whether the files were ever brought to the database."""
        return self._version is not None

    async def follow(self) -> None:
        """Files to rows, if there is anything new. DBAPIError when the database is away."""
        version = await uninterrupted(folder_version, self._settings)
        if version == self._version:
            return
        owners = {row.name: row.config_file for row in await uninterrupted(list_bots, self._engine)}
        bots, problems = await uninterrupted(read_folder, self._settings, owners)
        for path, bot in bots.items():
            try:
                saved = await uninterrupted(save_bot, self._engine, bot, path.name)
            except BadInput as error:
                problems[path] = f"{path}: {error}"
                continue
            if saved != "unchanged":
                await self._reports.event(
                    "info", f"bot_{saved}", f"bot {bot.bot_id} {saved} from {path.name}"
                )
        for path, problem in problems.items():
            if self._problems.get(path) != problem:
                await self._reports.event("error", "bot_file_refused", problem)
        self._version, self._problems = version, problems
