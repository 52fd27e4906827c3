"""The bots: their configuration, the state people want and the one they are in."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from config.files import BotFile
from core.bot_states import Actual, Desired, move
from core.errors import BadInput
from core.orders import OrderStatus
from pipelines.bus.base import Bus
from pipelines.warehouse.sql import to_datetime
from pipelines.warehouse.tables import bot_crashes, bots, orders, positions

CONTROL_CHANNEL = "control:bots"


class BotRow(msgspec.Struct, frozen=True):
    """A bot as stored, with its account. Money in quote currency, `quantity` in base currency.

    status: desired; state: actual; current_balance: total value at the last judged candle
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
    virtual_balance: Decimal
    current_balance: Decimal
    last_heartbeat: datetime | None
    pid: int | None
    restarts: int
    last_error: str | None
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


def list_bots(engine: Engine) -> list[BotRow]:
    """All bots, by name."""
    with engine.connect() as connection:
        return [_row(row) for row in connection.execute(_SELECT.order_by(bots.c.name))]


def find_bot(engine: Engine, name: str) -> BotRow:
    """The bot of that name; BadInput lists the known ones."""
    with engine.connect() as connection:
        row = connection.execute(_SELECT.where(bots.c.name == name)).one_or_none()
        if row is None:
            raise _unknown(connection, name)
    return _row(row)


def save_bot(engine: Engine, bot: BotFile, config_file: str | None) -> str:
    """Store a bot's configuration: "created", "changed" or "unchanged".

    A new one begins with its virtual balance, active if enabled. Of a known one, symbol, timeframe and
    balance stay as they are, because its history would not fit another: BadInput names the field.
    """
    with engine.begin() as connection:
        old = _locked(connection, bot.bot_id)
        if old is None:
            return _create(connection, bot, config_file)
        return _change(connection, old, bot, config_file)


def set_status(engine: Engine, name: str, status: Desired | str) -> BotRow:
    """Set what is wanted of a bot; the supervisor and the bot's own process act on it.

    Stopping and pausing take effect in this transaction: no decision is stored after it, the order that
    waits for a fill is cancelled, and when the bot is made active again it begins at the newest candle
    (what happened meanwhile is not traded). BadInput when there is no such bot.
    """
    wanted = Desired(status)
    with engine.begin() as connection:
        row = _locked(connection, name)
        if row is None:
            raise _unknown(connection, name)
        if row.status != wanted:
            changes: dict[str, Any] = {"status": wanted.value, "updated_at": func.now()}
            if wanted is Desired.ACTIVE:
                changes |= {"restarts": 0, "last_error": None}
            connection.execute(update(bots).where(bots.c.id == row.id).values(changes))
            if wanted is not Desired.ACTIVE:
                _interrupt(connection, row.id, f"the bot was set to {wanted}")
    return find_bot(engine, name)


def cancel_open_orders(engine: Engine, reason: str) -> int:
    """Cancel the waiting orders of all bots, as the kill switch does; returns how many there were."""
    with engine.begin() as connection:
        return _cancel(connection, None, reason)


async def announce(bus: Bus, name: str) -> None:
    """Tell the supervisor and the bot that something about `name` was changed, so that it acts at once.
    Without it they notice within two seconds."""
    await bus.publish(CONTROL_CHANNEL, {"bot": name})


def record_state(engine: Engine, bot_id: int, state: Actual, **values: Any) -> Actual:
    """Move a bot to an actual state, with other columns of `bots` if given; returns the one before.

    IllegalMove if the diagram in core.bot_states does not have it.
    """
    with engine.begin() as connection:
        statement = select(bots.c.state).where(bots.c.id == bot_id).with_for_update(key_share=True)
        current = Actual(connection.execute(statement).scalar_one())
        new = move(current, state)
        values |= {"state": new.value, "updated_at": func.now()}
        connection.execute(update(bots).where(bots.c.id == bot_id).values(values))
    return current


def record_crash(
    engine: Engine, bot_id: int, at_ms: int, exit_code: int | None, reason: str, stack_trace: str | None
) -> None:
    """Keep how a bot's process ended; at_ms is wall time."""
    with engine.begin() as connection:
        connection.execute(
            bot_crashes.insert().values(
                bot_id=bot_id,
                timestamp=to_datetime(at_ms),
                exit_code=exit_code,
                reason=reason,
                stack_trace=stack_trace,
            )
        )
        connection.execute(update(bots).where(bots.c.id == bot_id).values(last_error=reason))


def crashes_since(engine: Engine, bot_id: int, since_ms: int) -> int:
    """How often the bot's process has died since then, wall time."""
    statement = select(func.count()).where(
        bot_crashes.c.bot_id == bot_id, bot_crashes.c.timestamp >= to_datetime(since_ms)
    )
    with engine.connect() as connection:
        return connection.execute(statement).scalar_one()


def _locked(connection: Connection, name: str) -> Row[Any] | None:
    """The row of a bot, locked. Everyone locks a bot's position before its row in `bots`, so that a change of
    status and a decision wait for each other and never for ever."""
    of_name = select(bots.c.id).where(bots.c.name == name).scalar_subquery()
    connection.execute(select(positions.c.bot_id).where(positions.c.bot_id == of_name).with_for_update())
    statement = select(bots).where(bots.c.name == name).with_for_update(key_share=True)
    return connection.execute(statement).one_or_none()


def _create(connection: Connection, bot: BotFile, config_file: str | None) -> str:
    values = {
        "name": bot.bot_id,
        "strategy_name": bot.strategy,
        "symbol": bot.symbol,
        "timeframe": bot.timeframe,
        "status": (Desired.ACTIVE if bot.enabled else Desired.STOPPED).value,
        "config_file": config_file,
        "config": bot.document(),
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
    return "created"


def _change(connection: Connection, old: Row[Any], bot: BotFile, config_file: str | None) -> str:
    for field in ("symbol", "timeframe", "virtual_balance"):
        kept, given = getattr(old, field), getattr(bot, field)
        if kept != given:
            shown = f"{kept.normalize():f}" if isinstance(kept, Decimal) else kept
            raise BadInput(
                field,
                f"bot {bot.bot_id!r} has a history with {shown}: keep that, or give the new bot another id",
            )
    document = bot.document()
    if old.config == document and old.config_file == config_file:
        return "unchanged"
    values: dict[str, Any] = {
        "config": document,
        "config_file": config_file,
        "strategy_name": bot.strategy,
        "updated_at": func.now(),
    }
    if old.config.get("enabled") != document["enabled"]:
        values["status"] = (Desired.ACTIVE if bot.enabled else Desired.STOPPED).value
        if not bot.enabled:
            _interrupt(connection, old.id, "the bot was disabled in its file")
    connection.execute(update(bots).where(bots.c.id == old.id).values(values))
    return "unchanged" if old.config == document else "changed"


def _interrupt(connection: Connection, bot_id: int, reason: str) -> None:
    """Forget which candle was judged last, so that the bot does not trade what it slept through."""
    connection.execute(update(positions).where(positions.c.bot_id == bot_id).values(last_candle=None))
    _cancel(connection, bot_id, reason)


def _cancel(connection: Connection, bot_id: int | None, reason: str) -> int:
    statement = (
        update(orders)
        .where(orders.c.status == OrderStatus.OPEN.value)
        .values(status=OrderStatus.CANCELLED.value, reason=reason, updated_at=func.now())
    )
    if bot_id is not None:
        statement = statement.where(orders.c.bot_id == bot_id)
    return connection.execute(statement).rowcount


def _unknown(connection: Connection, name: str) -> BadInput:
    known: Sequence[str] = connection.execute(select(bots.c.name).order_by(bots.c.name)).scalars().all()
    listed = ", ".join(known) if known else "there are none yet"
    return BadInput("bot", f"{name!r} is not known; known: {listed}")


def _row(row: Row[Any]) -> BotRow:
    values = dict(row._mapping)
    values["status"], values["state"] = Desired(values["status"]), Actual(values["state"])
    return BotRow(**values)
