"""Every configuration a bot ever had: when it came, from where, and after which candle it was in force."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Engine, func, select, update
from sqlalchemy.dialects.postgresql import insert

from pipelines.warehouse.tables import bot_configs, bot_performance, bots

Origin = Literal["file", "cli", "api"]


class ConfigVersion(msgspec.Struct, frozen=True):
    """One configuration of a bot.

    created_at: when it was stored, wall time; applied_at: when a process of the bot took it over
    after_candle: close of the last candle judged before that; the next one was judged by this configuration
    changes: field → [before, after], against the version before; of the first one every field that is set
    """

    version: int
    created_at: datetime
    origin: str
    applied_at: datetime | None
    after_candle: datetime | None
    changes: dict[str, list[Any]]
    document: dict[str, Any]


def add_version(
    connection: Connection, bot_id: int, version: int, document: dict[str, Any], origin: Origin
) -> None:
    """Keep a configuration, in the transaction that puts it in force."""
    connection.execute(
        insert(bot_configs).values(bot_id=bot_id, version=version, document=document, origin=origin)
    )


def note_applied(engine: Engine, bot_id: int, version: int) -> None:
    """A process of the bot works by this version from now on; only the first time counts.

    What was judged last the newest snapshot tells: of a bot that was stopped, its position has forgotten.
    """
    snapshots = bot_performance.c
    newest = select(func.max(snapshots.timestamp)).where(snapshots.bot_id == bot_id).scalar_subquery()
    statement = (
        update(bot_configs)
        .where(
            bot_configs.c.bot_id == bot_id,
            bot_configs.c.version == version,
            bot_configs.c.applied_at.is_(None),
        )
        .values(applied_at=func.now(), after_candle=newest)
    )
    with engine.begin() as connection:
        connection.execute(statement)


def list_versions(engine: Engine, bot_name: str) -> list[ConfigVersion]:
    """All configurations of a bot, the newest first; none when there is no such bot."""
    columns = [bot_configs.c[name] for name in ConfigVersion.__struct_fields__ if name != "changes"]
    statement = (
        select(*columns)
        .join(bots, bots.c.id == bot_configs.c.bot_id)
        .where(bots.c.name == bot_name)
        .order_by(bot_configs.c.version)
    )
    with engine.connect() as connection:
        rows = connection.execute(statement).mappings().all()
    found: list[ConfigVersion] = []
    before: dict[str, Any] = {}
    for row in rows:
        found.append(ConfigVersion(**row, changes=changes_between(before, row["document"])))
        before = row["document"]
    return found[::-1]


def changes_between(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> dict[str, list[Any]]:
    """Field → [before, after] of what differs; fields of nested objects are written `risk.stop_loss`."""
    changes: dict[str, list[Any]] = {}
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            changes |= changes_between(old, new, f"{prefix}{name}.")
        elif old != new:
            changes[prefix + name] = [old, new]
    return changes
