"""Deleting bots: out of sight with their history kept, or forgotten for good."""

from sqlalchemy import Connection, Engine, Table, delete, func, select, update

from core.bot_states import Desired
from core.errors import BadInput
from pipelines.warehouse.bot_readings import note_purged
from pipelines.warehouse.bots import BotRow, find_bot, interrupt, locked_bot, unknown_bot
from pipelines.warehouse.tables import bots, exchange_orders, metadata


def remove_bot(engine: Engine, name: str) -> BotRow:
    """Stop a bot and take it out of all lists; signals, orders, trades and versions stay and can be read by
    its name. Doing it again is harmless; BadInput when there is no such bot."""
    with engine.begin() as connection:
        row = locked_bot(connection, name)
        if row is None:
            raise unknown_bot(connection, name)
        if row.deleted_at is None:
            changes = {"status": Desired.STOPPED.value, "deleted_at": func.now(), "updated_at": func.now()}
            connection.execute(update(bots).where(bots.c.id == row.id).values(changes))
            interrupt(connection, row.id, "the bot was deleted")
    return find_bot(engine, name)


def restore_bot(engine: Engine, name: str) -> BotRow:
    """Bring a deleted bot back with its history, stopped. BadInput when it is not deleted."""
    with engine.begin() as connection:
        row = locked_bot(connection, name)
        if row is None:
            raise unknown_bot(connection, name)
        if row.deleted_at is None:
            raise BadInput("bot", f"{name!r} is not deleted: there is nothing to restore")
        connection.execute(
            update(bots).where(bots.c.id == row.id).values(deleted_at=None, updated_at=func.now())
        )
    return find_bot(engine, name)


def purge_bot(engine: Engine, name: str) -> None:
    """Remove a bot and every row about it, in one transaction; that it was purged is kept, and what it said.

    A process of it that still runs writes nothing more and ends within seconds. BadInput when there is no
    such bot.
    """
    with engine.begin() as connection:
        row = locked_bot(connection, name)
        if row is None:
            raise unknown_bot(connection, name)
        _refuse_real_orders(connection, row.id, name)
        note_purged(connection, name, row.id)
        _forget(connection, row.id)


def check_purge(engine: Engine, name: str) -> None:
    """BadInput when the bot may not be purged, before anything is done about it."""
    bot_id = find_bot(engine, name).id
    with engine.connect() as connection:
        _refuse_real_orders(connection, bot_id, name)


def _refuse_real_orders(connection: Connection, bot_id: int, name: str) -> None:
    real = select(exchange_orders.c.order_id).where(exchange_orders.c.bot_id == bot_id).limit(1)
    if connection.execute(real).one_or_none() is not None:
        why = "orders at an exchange, and their records are kept: delete it without purging"
        raise BadInput("purge", f"bot {name!r} has {why}")


def _forget(connection: Connection, bot_id: int) -> None:
    # In the reverse of the order in which tables refer to each other: rows go before what they refer to.
    for table in reversed(metadata.sorted_tables):
        for column in _keys_of_bots(table):
            connection.execute(delete(table).where(table.c[column] == bot_id))
    connection.execute(delete(bots).where(bots.c.id == bot_id))


def _keys_of_bots(table: Table) -> list[str]:
    return [key.parent.name for key in table.foreign_keys if key.column is bots.c.id]
