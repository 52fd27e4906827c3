"""What each home's file said of a bot when it was read last: a file counts where it has changed since.

Two hosts have files of their own. After a takeover those of the second one may be older than what was changed
on the first one; nobody has touched them, so that they are no change. A file that a home has never read is
old where the bot once had what it says. That of a purged bot may lie on another host still: it makes no bot,
and is old for a bot that was made anew under its name.
"""

import contextlib
import os
import tempfile
import uuid
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, Table, func, select
from sqlalchemy.dialects.postgresql import insert

from config.files import BotFile
from core.errors import BadInput
from pipelines.warehouse.tables import bot_configs, bot_readings, controls

IDENTITY = "identity"
"""File of TCP_HOME with the name that the database knows it by."""
_PURGED = "purged_bot:"

Document = dict[str, Any]


def identity_of(home: Path) -> str:
    """The name of this TCP_HOME, made at the first call; a host's processes share both, containers too."""
    path = home / IDENTITY
    if not path.exists():
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=home, prefix=".identity-") as file:
            file.write(uuid.uuid4().hex)
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # of two processes the first one's name stands
                os.link(file.name, path)
    return path.read_text()


def counts(connection: Connection, bot: Row[Any], document: Document, identity: str) -> bool:
    """Whether what a file of this home says is news: it has changed since it was read here last, or was never
    read here and says what the bot never had, such as an edit while no daemon ran.

    So is a file of a bot whose files nobody has read yet, and what is in force anyway. bot: its row in `bots`
    """
    if _same(bot.config, document):
        return True
    statement = select(bot_readings.c.home, bot_readings.c.document).where(bot_readings.c.bot_id == bot.id)
    said = {row.home: row.document for row in connection.execute(statement)}
    if identity in said:
        return not _same(said[identity], document)
    had = _purged_documents(connection, bot.name)
    if said:
        had += _documents(connection, bot_configs, bot.id)
    return not any(_same(earlier, document) for earlier in had)


def note_reading(connection: Connection, bot_id: int, document: Document, identity: str) -> None:
    """What the bot's file in this home says by now, in the transaction that stores it."""
    row = insert(bot_readings).values(bot_id=bot_id, home=identity, document=document)
    changed = {"document": row.excluded.document, "read_at": func.now()}
    connection.execute(row.on_conflict_do_update(index_elements=["bot_id", "home"], set_=changed))


def note_purged(connection: Connection, name: str, bot_id: int) -> None:
    """Keep that a bot is purged now, with all that it and its files said, in the transaction that does it and
    while its rows are there: an old file on another host is none of a bot made anew under its name."""
    said = _purged_documents(connection, name)
    for table in (bot_configs, bot_readings):
        said += (one for one in _documents(connection, table, bot_id) if one not in said)
    row = insert(controls).values(name=f"{_PURGED}{name}", value={"documents": said})
    changed = {"value": row.excluded.value, "updated_at": func.now()}
    connection.execute(row.on_conflict_do_update(index_elements=["name"], set_=changed))


def refuse_purged(connection: Connection, name: str) -> None:
    """BadInput for a file that would make a bot anew which was purged."""
    statement = select(controls.c.updated_at).where(controls.c.name == f"{_PURGED}{name}")
    at = connection.scalar(statement)
    if at is not None:
        remedy = "remove the file, or `tcp bots create FILE` makes a new bot of it"
        raise BadInput("bot_id", f"{name!r} was purged at {at:%Y-%m-%d %H:%M} UTC: {remedy}")


def _purged_documents(connection: Connection, name: str) -> list[Document]:
    """What was said of purged bots of that name; an earlier version of this program kept none."""
    value = connection.scalar(select(controls.c.value).where(controls.c.name == f"{_PURGED}{name}"))
    return list((value or {}).get("documents", []))


def _documents(connection: Connection, table: Table, bot_id: int) -> list[Document]:
    return list(connection.execute(select(table.c.document).where(table.c.bot_id == bot_id)).scalars())


def _same(stored: Document, document: Document) -> bool:
    """As this version of the program reads both: fields that an older one did not know have defaults."""
    if stored == document:
        return True
    try:
        return BotFile.model_validate(stored).document() == document
    except ValidationError:
        return False
