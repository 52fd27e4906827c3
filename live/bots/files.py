"""The files of bots, read in a process of its own (see live.bots.nursery): that loads every strategy of the
user's folder, and what one of those does then is no affair of the daemon's."""

import os
from pathlib import Path

import msgspec

from config.files import BotFile
from config.settings import settings
from live.bots.lifeline import tie_to_parent
from live.bots.memory import limit_memory
from live.bots.runner_codes import STOPPED
from pipelines.warehouse.bot_files import read_folder
from pipelines.warehouse.sql import storable


class Order(msgspec.Struct, frozen=True):
    """What to read. folder: for the answer, and for the name of what is being loaded
    owners: see `read_folder`
    """

    folder: str
    owners: dict[str, str | None]

    @property
    def answer(self) -> Path:
        """The file of what was found, there once all of it is."""
        return Path(self.folder) / "answer.json"

    @property
    def loads(self) -> Path:
        """The file that names the strategy's file that is being loaded."""
        return Path(self.folder) / "loads"

    def loaded(self) -> str:
        """The file whose loading was begun last, if one was."""
        return self.loads.read_text(errors="replace") if self.loads.exists() else "nothing yet"


class Unreadable(Exception):
    """The process that reads the files was ended by one of the strategies, or stands still in it."""


class Found(msgspec.Struct, frozen=True):
    """By path: the documents of usable bots, and a line for each of the other files, and for each strategy
    that took too long to load."""

    bots: dict[str, dict[str, object]]
    problems: dict[str, str]

    def files(self) -> dict[Path, BotFile]:
        """The usable bots."""
        return {Path(path): BotFile.model_validate(document) for path, document in self.bots.items()}


def read_files(order: Order) -> int:
    """Carry out the order; the exit code."""
    from strategies.registry import catalogue

    tie_to_parent()
    limit_memory(settings().bot_memory_mb * 1_000_000)
    catalogue().on_load = lambda path: _put(order.loads, os.fsencode(path))
    bots, problems = read_folder(settings(), order.owners)
    found = Found(
        {str(path): bot.model_dump(mode="json", exclude_none=True) for path, bot in bots.items()},
        {storable(str(path)): storable(problem) for path, problem in problems.items()}
        | {line: line for line in map(storable, catalogue().slow())},
    )
    _put(order.answer, msgspec.json.encode(found))
    return STOPPED


def _put(path: Path, content: bytes) -> None:
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
