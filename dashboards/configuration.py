"""Writing a bot's configuration: checked, stored, and kept as a file that people can read and edit."""

from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine

from config.settings import Settings
from core.errors import BadInput
from dashboards.queries import bots as queries
from pipelines.warehouse.bot_files import bots_folder, check_bot
from pipelines.warehouse.bots import save_bot


def write_bot(engine: Engine, settings: Settings, bot_id: str, document: dict[str, Any]) -> dict[str, Any]:
    """Store the document as this bot's configuration and write its file; returns the configuration in force.

    ConfigError or BadInput names the field, and then nothing was written. The file is replaced in one step
    and only after the database took the configuration.
    """
    if document.get("bot_id", bot_id) != bot_id:
        raise BadInput("bot_id", f"must be {bot_id!r} as in the address, got {document['bot_id']!r}")
    document = {"bot_id": bot_id, **document}
    bot = check_bot(document, "document", settings)
    path = _file(engine, settings, bot_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_suffix(".writing")
    waiting.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    try:
        save_bot(engine, bot, str(path))
        waiting.replace(path)
    finally:
        waiting.unlink(missing_ok=True)
    return bot.document()


def _file(engine: Engine, settings: Settings, bot_id: str) -> Path:
    """Where the bot's file lies, or will: a known JSON file stays where it is."""
    row = queries.bot(engine, bot_id)
    if row is not None and row["config_file"] and Path(row["config_file"]).suffix == ".json":
        known = Path(row["config_file"])
        if known.is_absolute() and known.parent == bots_folder(settings):
            return known
    return bots_folder(settings) / f"{bot_id}.json"
