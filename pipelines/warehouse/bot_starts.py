"""When a bot began, and which configuration it judged by: what a replay of its history has to know."""

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects.postgresql import insert

from pipelines.warehouse.bots import BotRow
from pipelines.warehouse.sql import to_datetime
from pipelines.warehouse.tables import bot_configs, bot_starts


class Configured(msgspec.Struct, frozen=True):
    """A configuration that a bot judged by, from the candle after `after_candle` on; None: from its first."""

    document: dict[str, Any]
    after_candle: datetime | None


def note_start(connection: Connection, bot_id: int, candle_ms: int, after_ms: int | None) -> None:
    """The bot begins at that candle; after_ms: the last one that it judged before, None for none. In the
    transaction of its first signal."""
    after = None if after_ms is None else to_datetime(after_ms)
    values = {"bot_id": bot_id, "timestamp": to_datetime(candle_ms), "after_candle": after}
    connection.execute(insert(bot_starts).values(values).on_conflict_do_nothing())


def read_configurations(engine: Engine, row: BotRow) -> list[Configured]:
    """Those that a bot has judged by, oldest first; the one of its row where none is kept. What differs in
    nothing that decides counts as one."""
    query = (
        select(bot_configs.c.document, bot_configs.c.after_candle, bot_configs.c.applied_at)
        .where(bot_configs.c.bot_id == row.id)
        .order_by(bot_configs.c.version)
    )
    found: list[Configured] = []
    with engine.connect() as connection:
        for one in connection.execute(query):
            if found and one.after_candle is None and one.applied_at is None:
                continue  # no process has taken it over yet
            while found and one.after_candle in {None, found[-1].after_candle}:
                found.pop()  # nothing was judged by it
            if not found or _deciding(found[-1].document) != _deciding(one.document):
                found.append(Configured(one.document, one.after_candle))
    return found or [Configured(row.config, None)]


def _deciding(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "enabled"}
