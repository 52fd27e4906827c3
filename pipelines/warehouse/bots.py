"""The bots: their configuration, the state people want and the one they are in."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from config.files import BotFile
from core.bot_states import Actual, Desired
from core.errors import BadInput
from core.orders import WORKING, OrderStatus
from pipelines.backtest.variant import bot_variant
from pipelines.bus.base import Bus
from pipelines.warehouse.bot_market import check_market
from pipelines.warehouse.bot_readings import counts, note_reading, refuse_purged
from pipelines.warehouse.bot_versions import Origin, add_version
from pipelines.warehouse.controls import lock_positions
from pipelines.warehouse.exchange_orders import withdraw
from pipelines.warehouse.smallest import refuse_small_sizes
from pipelines.warehouse.sql import storable, to_datetime
from pipelines.warehouse.tables import bot_crashes, bots, orders, positions, signals

CONTROL_CHANNEL = "control:bots"
_FIXED = ("symbol", "timeframe", "virtual_balance")
"""What a bot cannot change once it has judged a candle."""


class BotRow(msgspec.Struct, frozen=True):
    """A bot as stored, with its account. Money in quote currency, `quantity` in base currency.

    status: desired; state: actual; current_balance: total value at the last judged candle
    config_version: of its configuration, see bot_versions; deleted_at: None but for deleted ones
    """

    id: int
    name: str
    strategy_name: str
    symbol: str
    timeframe: str
    status: Desired
    state: Actual
    config_file: str | None
    config: dict[str, Any]
    config_version: int
    virtual_balance: Decimal
    current_balance: Decimal
    last_heartbeat: datetime | None
    pid: int | None
    restarts: int
    last_error: str | None
    deleted_at: datetime | None
    cash: Decimal
    quantity: Decimal
    realised_pnl: Decimal
    fees: Decimal
    total_trades: int
    winning_trades: int
    last_candle: datetime | None


_OF_BOT = [name for name in BotRow.__struct_fields__ if name in bots.c]
_OF_POSITION = [name for name in BotRow.__struct_fields__ if name not in bots.c]
_SELECT = select(*(bots.c[name] for name in _OF_BOT), *(positions.c[name] for name in _OF_POSITION)).join(
    positions, positions.c.bot_id == bots.c.id
)


def list_bots(engine: Engine, deleted: bool = False) -> list[BotRow]:
    """All bots, by name. deleted: those too that were deleted and whose history is kept"""
    statement = _SELECT if deleted else _SELECT.where(bots.c.deleted_at.is_(None))
    with engine.connect() as connection:
        return [_row(row) for row in connection.execute(statement.order_by(bots.c.name))]


def find_bot(engine: Engine, name: str) -> BotRow:
    """The bot of that name, deleted or not; BadInput lists the known ones."""
    with engine.connect() as connection:
        row = connection.execute(_SELECT.where(bots.c.name == name)).one_or_none()
        if row is None:
            raise unknown_bot(connection, name)
    return _row(row)


def save_bot(
    engine: Engine,
    bot: BotFile,
    config_file: str | None,
    origin: Origin = "file",
    identity: str | None = None,
) -> str:
    """Store a bot's configuration: "created", "changed" (a new version, see bot_versions) or "unchanged"; or
    "kept", when it was read of a file that is no news, see bot_readings.

    A new one begins with its virtual balance, active if enabled. Symbol, timeframe and balance of a known one
    may change while it is stopped and has judged no candle; afterwards they stay, because its history would
    not fit others. BadInput names the field; of a deleted bot it is bot_id, and of a purged one's file.

    Parameters
    ----------
    identity: of the TCP_HOME whose file says this, see `identity_of`; None: no file does
    """
    variant = bot_variant(bot)  # asks the strategy, whose code takes the time it likes: before the locks
    with engine.begin() as connection:
        old = locked_bot(connection, bot.bot_id)
        if old is None:
            if origin == "file":
                refuse_purged(connection, bot.bot_id)
            check_market(connection, bot)
            refuse_small_sizes(connection, bot)
            bot_id, saved = _create(connection, bot, variant, config_file, origin), "created"
        elif old.deleted_at is not None:
            raise was_deleted(bot.bot_id, old.deleted_at)
        elif identity and origin == "file" and not counts(connection, old, bot.document(), identity):
            bot_id, saved = old.id, "kept"
        else:
            bot_id, saved = old.id, _change(connection, old, bot, variant, config_file, origin)
        if identity:
            note_reading(connection, bot_id, bot.document(), identity)
    return saved


def note_file(engine: Engine, bot: BotFile, identity: str) -> None:
    """That a file in this TCP_HOME says so by now, and is no news to it."""
    with engine.begin() as connection:
        row = locked_bot(connection, bot.bot_id)
        if row is not None:  # purged meanwhile
            note_reading(connection, row.id, bot.document(), identity)


def file_counts(engine: Engine, bot: BotFile, identity: str) -> bool:
    """Whether `save_bot` would take what this file of a bot that is known says: see bot_readings."""
    with engine.connect() as connection:
        row = connection.execute(select(bots).where(bots.c.name == bot.bot_id)).one_or_none()
        return row is None or counts(connection, row, bot.document(), identity)  # None: purged meanwhile


def was_deleted(name: str, at: datetime) -> BadInput:
    """What is said of a file, or of a request, for a bot that was deleted."""
    return BadInput(
        "bot_id",
        f"{name!r} was deleted at {at:%Y-%m-%d %H:%M} UTC: `tcp bots restore {name}` brings it back,"
        f" `tcp bots delete {name} --purge` forgets it; or choose another id",
    )


def set_status(engine: Engine, name: str, status: Desired | str) -> BotRow:
    """Set what is wanted of a bot; the supervisor and the bot's own process act on it.

    Stopping and pausing take effect in this transaction: no decision is stored after it, the order that
    waits for a fill is cancelled, and when the bot is made active again it begins at the newest candle
    (what happened meanwhile is not traded). BadInput when there is no such bot, or it was deleted.
    """
    wanted = Desired(status)
    with engine.begin() as connection:
        row = locked_bot(connection, name)
        if row is None:
            raise unknown_bot(connection, name)
        if row.deleted_at is not None:
            raise was_deleted(name, row.deleted_at)
        if row.status != wanted:
            changes: dict[str, Any] = {"status": wanted.value, "updated_at": func.now()}
            if wanted is Desired.ACTIVE:
                changes |= {"restarts": 0, "last_error": None}
            connection.execute(update(bots).where(bots.c.id == row.id).values(changes))
            if wanted is not Desired.ACTIVE:
                interrupt(connection, row.id, f"the bot was set to {wanted}")
    return find_bot(engine, name)


def cancel_open_orders(engine: Engine, reason: str, bot_id: int | None = None) -> int:
    """Cancel the waiting orders of all bots, or one, as the kill switch does; returns how many there were."""
    with engine.begin() as connection:
        lock_positions(connection, bot_id)
        return _cancel(connection, bot_id, reason, protective=True)


async def announce(bus: Bus, name: str) -> None:
    """Tell the supervisor and the bot that something about `name` was changed, so that it acts at once.
    Without it they notice within two seconds."""
    await bus.publish(CONTROL_CHANNEL, {"bot": name})


def record_state(engine: Engine, bot_id: int, state: Actual, **values: Any) -> Actual | None:
    """Move a bot to an actual state, with other columns of `bots` if given; returns the one before, None when
    the bot was purged meanwhile.

    IllegalMove if the diagram in core.bot_states does not have it.
    """
    with engine.begin() as connection:
        statement = select(bots.c.state).where(bots.c.id == bot_id).with_for_update(key_share=True)
        stored: str | None = connection.execute(statement).scalar_one_or_none()
        if stored is None:
            return None
        current = Actual(stored)
        values |= {"state": current.move(state).value, "updated_at": func.now()}
        connection.execute(update(bots).where(bots.c.id == bot_id).values(values))
    return current


def record_crash(
    engine: Engine, bot_id: int, at_ms: int, exit_code: int | None, reason: str, stack_trace: str | None
) -> None:
    """Keep how a bot's process ended, unless the bot was purged meanwhile; at_ms is wall time."""
    with engine.begin() as connection:
        present = select(bots.c.id).where(bots.c.id == bot_id).with_for_update(key_share=True)
        if connection.execute(present).one_or_none() is None:
            return
        connection.execute(
            bot_crashes.insert().values(
                bot_id=bot_id,
                timestamp=to_datetime(at_ms),
                exit_code=exit_code,
                reason=storable(reason),
                stack_trace=None if stack_trace is None else storable(stack_trace),
            )
        )
        connection.execute(update(bots).where(bots.c.id == bot_id).values(last_error=storable(reason)))


def crash_reason(engine: Engine, bot_id: int, since_ms: int) -> str | None:
    """Why the bot's process died last, if that is on record since then, wall time."""
    statement = (
        select(bot_crashes.c.reason)
        .where(bot_crashes.c.bot_id == bot_id, bot_crashes.c.timestamp >= to_datetime(since_ms))
        .order_by(bot_crashes.c.timestamp.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        reason: str | None = connection.execute(statement).scalar_one_or_none()
    return reason


def crashes_since(engine: Engine, bot_id: int, since_ms: int) -> int:
    """How often the bot's process has died since then, wall time."""
    statement = select(func.count()).where(
        bot_crashes.c.bot_id == bot_id, bot_crashes.c.timestamp >= to_datetime(since_ms)
    )
    with engine.connect() as connection:
        return connection.execute(statement).scalar_one()


def locked_bot(connection: Connection, name: str) -> Row[Any] | None:
    """The row of a bot, locked. Everyone locks a bot's position before its row in `bots`, so that a change of
    status and a decision wait for each other and never for ever."""
    of_name = select(bots.c.id).where(bots.c.name == name).scalar_subquery()
    connection.execute(select(positions.c.bot_id).where(positions.c.bot_id == of_name).with_for_update())
    statement = select(bots).where(bots.c.name == name).with_for_update(key_share=True)
    return connection.execute(statement).one_or_none()


Variant = dict[str, Any] | None


def _create(
    connection: Connection, bot: BotFile, variant: Variant, config_file: str | None, origin: Origin
) -> int:
    """The number of the new bot."""
    values = {
        "name": bot.bot_id,
        "strategy_name": bot.strategy,
        "symbol": bot.symbol,
        "timeframe": bot.timeframe,
        "status": (Desired.ACTIVE if bot.enabled else Desired.STOPPED).value,
        "config_file": config_file,
        "config": bot.document(),
        "variant": variant,
        "virtual_balance": bot.virtual_balance,
        "current_balance": bot.virtual_balance,
    }
    bot_id: int = connection.execute(insert(bots).values(values).returning(bots.c.id)).scalar_one()
    connection.execute(
        insert(positions).values(
            bot_id=bot_id,
            symbol=bot.symbol,
            cash=bot.virtual_balance,
            quantity=0,
            cost=0,
            realised_pnl=0,
            fees=0,
        )
    )
    add_version(connection, bot_id, 1, bot.document(), origin)
    return bot_id


def _change(
    connection: Connection,
    old: Row[Any],
    bot: BotFile,
    variant: Variant,
    config_file: str | None,
    origin: Origin,
) -> str:
    document = bot.document()
    if (old.config, old.config_file, old.variant) == (document, config_file, variant):
        return "unchanged"
    if old.config.get("risk") != document["risk"]:
        check_market(connection, bot)
        refuse_small_sizes(connection, bot)
    values: dict[str, Any] = {
        **_new_market(connection, old, bot),
        "config": document,
        "variant": variant,
        "config_file": config_file,
        "strategy_name": bot.strategy,
        "updated_at": func.now(),
    }
    if old.config != document:
        values["config_version"] = old.config_version + 1
        add_version(connection, old.id, old.config_version + 1, document, origin)
    if old.config.get("enabled") != document["enabled"]:
        values["status"] = (Desired.ACTIVE if bot.enabled else Desired.STOPPED).value
        if not bot.enabled:
            interrupt(connection, old.id, "the bot was disabled in its file")
    connection.execute(update(bots).where(bots.c.id == old.id).values(values))
    return "unchanged" if old.config == document else "changed"


def _new_market(connection: Connection, old: Row[Any], bot: BotFile) -> dict[str, Any]:
    """Other symbol, timeframe or balance for a bot that has no history yet; BadInput for one that has."""
    before = {name: getattr(old, name) for name in _FIXED} | {"broker": old.config.get("broker", "paper")}
    changed = [name for name, kept in before.items() if kept != getattr(bot, name)]
    if not changed:
        return {}
    field, kept = changed[0], before[changed[0]]
    shown = f"{kept.normalize():f}" if isinstance(kept, Decimal) else kept
    if Actual(old.state).has_process:
        raise BadInput(field, f"bot {bot.bot_id!r} runs with {shown}: keep that, or stop the bot first")
    judged = select(signals.c.id).where(signals.c.bot_id == old.id).limit(1)
    if connection.execute(judged).one_or_none() is not None:
        raise BadInput(
            field,
            f"bot {bot.bot_id!r} has a history with {shown}: keep that, or give the new bot another id",
        )
    check_market(connection, bot)
    connection.execute(
        update(positions)
        .where(positions.c.bot_id == old.id)
        .values(symbol=bot.symbol, cash=bot.virtual_balance)
    )
    return {name: getattr(bot, name) for name in _FIXED} | {"current_balance": bot.virtual_balance}


def interrupt(connection: Connection, bot_id: int, reason: str) -> None:
    """Forget which candle was judged last, so that the bot does not trade what it slept through."""
    connection.execute(update(positions).where(positions.c.bot_id == bot_id).values(last_candle=None))
    _cancel(connection, bot_id, reason)


def _cancel(connection: Connection, bot_id: int | None, reason: str, protective: bool = False) -> int:
    statement = (
        update(orders)
        .where(orders.c.status.in_([status.value for status in WORKING]))
        .values(status=OrderStatus.CANCELLED.value, reason=reason, state=None, updated_at=func.now())
    )
    if bot_id is not None:
        statement = statement.where(orders.c.bot_id == bot_id)
    # Of orders at a real exchange, stops outlive a pause: they protect what is held meanwhile.
    at_exchange = withdraw(connection, bot_id, reason, protective=protective)
    return connection.execute(statement).rowcount + at_exchange


def unknown_bot(connection: Connection, name: str) -> BadInput:
    known: Sequence[str] = connection.execute(select(bots.c.name).order_by(bots.c.name)).scalars().all()
    listed = ", ".join(known) if known else "there are none yet"
    return BadInput("bot", f"{name!r} is not known; known: {listed}")


def _row(row: Row[Any]) -> BotRow:
    values = dict(row._mapping)
    values["status"], values["state"] = Desired(values["status"]), Actual(values["state"])
    return BotRow(**values)
