"""Bots written, deleted and brought back by people: the row in the database and the file go together."""

from pathlib import Path
from typing import Any

import msgspec
import yaml
from sqlalchemy import Engine

from config.files import BotFile, ConfigError, plain, read_document
from config.settings import Settings
from core.errors import BadInput
from pipelines.warehouse.bot_files import bots_folder, check_bot, files_of
from pipelines.warehouse.bot_readings import identity_of
from pipelines.warehouse.bot_removal import check_purge, purge_bot, remove_bot, restore_bot
from pipelines.warehouse.bot_versions import Origin
from pipelines.warehouse.bots import file_counts, find_bot, list_bots, note_file, save_bot

ASIDE = ".deleted"
"""Ends the name of the file of a deleted bot, which nobody reads."""
MOST_FILES = 100
"""Names that are tried for a bot's file."""


def write_bot(
    engine: Engine, settings: Settings, bot_id: str, document: dict[str, Any], origin: Origin
) -> BotFile:
    """Store the document as this bot's configuration and write its file; returns what is in force then.

    ConfigError or BadInput names the field, and then nothing was written. The file is replaced in one step
    and only after the database took the configuration. A bot that runs goes on by it from its next candle.
    """
    if document.get("bot_id", bot_id) != bot_id:
        raise BadInput("bot_id", f"must be {bot_id!r} as it was asked for, got {document['bot_id']!r}")
    document = {"bot_id": bot_id, **document}
    bot = check_bot(document, "document", settings)
    path = _file_of(engine, settings, bot_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_name(path.name + ".writing")
    waiting.write_bytes(_text(document, path))
    try:
        save_bot(engine, bot, path.name, origin)
        waiting.replace(path)
    finally:
        waiting.unlink(missing_ok=True)
    # Last: of a kill before the file was there, the one that is still the old must not count as changed.
    note_file(engine, bot, identity_of(settings.home))
    return bot


def edit_bot(engine: Engine, settings: Settings, bot_id: str, changes: dict[str, Any]) -> BotFile:
    """Change single fields of a bot, nested ones written `risk.stop_loss`; None takes a field away.

    What its file says stays as it is; a bot whose strategy or parameters change has them inline from then on,
    and so has one whose file does not count: see bot_readings.
    """
    document = find_bot(engine, bot_id).config
    path = _file_of(engine, settings, bot_id)
    inline = any(field.split(".")[0] in {"strategy", "parameters"} for field in changes)
    if not inline and path.exists():
        said = plain(read_document(path))
        document = said if _counts(engine, settings, said) else document
    for field, value in changes.items():
        document = _changed(document, field.split("."), value)
    return write_bot(engine, settings, bot_id, document, "cli")


def delete_bot(engine: Engine, settings: Settings, bot_id: str, purge: bool = False) -> list[Path]:
    """Take a bot out of all lists, or with `purge` out of the database; returns its files, put aside by then
    under names that end in `.deleted`, so that it does not come back with them.

    Each step may be the last one before a crash: repeated, it goes on. BadInput, and nothing is done, when
    there is no such bot, or it may not be purged.
    """
    if purge:
        check_purge(engine, bot_id)
    else:
        remove_bot(engine, bot_id)
    moved = [path.replace(path.with_name(path.name + ASIDE)) for path in files_of(settings, bot_id)]
    if purge:
        purge_bot(engine, bot_id)
    return moved


def undelete_bot(engine: Engine, settings: Settings, bot_id: str) -> None:
    """Bring a deleted bot back, stopped, with its history and its file. BadInput when it is not deleted."""
    row = restore_bot(engine, bot_id)
    path = bots_folder(settings) / Path(row.config_file or f"{bot_id}.json").name
    aside = path.with_name(path.name + ASIDE)
    if aside.exists() and not path.exists():
        aside.replace(path)


def _counts(engine: Engine, settings: Settings, said: Any) -> bool:
    """Whether the file that says this has a word in what its bot does; a wrong one has, to be told so."""
    try:
        bot = check_bot(said, "document", settings)
    except ConfigError:
        return True
    return file_counts(engine, bot, identity_of(settings.home))


def _file_of(engine: Engine, settings: Settings, bot_id: str) -> Path:
    """Where the bot's file lies, or will: ID.json, or where that is another's, ID-2.json and so on."""
    own = files_of(settings, bot_id)
    if own:
        return own[0]
    known = {row.name: row.config_file for row in list_bots(engine, deleted=True)}
    names = (f"{bot_id}.json", *(f"{bot_id}-{number}.json" for number in range(2, MOST_FILES)))
    for path in (bots_folder(settings) / name for name in names):
        if not path.exists() or (path.name == known.get(bot_id) and not _names_a_bot(path)):
            return path
    raise BadInput("bot_id", f"{names[0]} to {names[-1]} are other bots' files: remove or rename one")


def _names_a_bot(path: Path) -> bool:
    """Whether the file says whose it is; of one that cannot be read the database knows it."""
    try:
        document = read_document(path)
    except ConfigError:
        return False
    return isinstance(document, dict) and "bot_id" in document


def _text(document: dict[str, Any], path: Path) -> bytes:
    if path.suffix == ".json":
        return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
    return yaml.safe_dump(document, sort_keys=False).encode()


def _changed(document: dict[str, Any], field: list[str], value: Any) -> dict[str, Any]:
    name, *rest = field
    if rest:
        inner = document.get(name)
        if not isinstance(inner, dict | None):
            raise BadInput(name, f"is {inner!r} and has no field {'.'.join(rest)}")
        value = _changed(inner or {}, rest, value)
    others = {key: part for key, part in document.items() if key != name}
    return others if value is None else {**others, name: value}
