"""Positions at a real exchange that need an order: a stop, a take-profit, a sale that a kill switch wants."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import takewhile
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from core.exchange_orders import OrderKind, SubmissionState, client_id
from core.ids import decision_id
from core.trades import Side
from pipelines.warehouse.exchange_orders import FLATTENED, LIVE, SUBMITTING, killed, mark
from pipelines.warehouse.sql import to_ms
from pipelines.warehouse.tables import bots, orders, positions
from pipelines.warehouse.tables.exchange_orders import exchange_orders

_REASONS = {
    OrderKind.STOP: "stop_loss",
    OrderKind.TAKE_PROFIT: "take_profit",
    OrderKind.OCO: "stop_loss or take_profit",
    OrderKind.TRAILING_STOP: "trailing_stop",
}
PROTECTED_BY = ("stop_loss", "take_profit", "trailing_stop")
"""Fields of a risk block whose orders wait at the exchange."""
_BEYOND_ALREADY = "the price was beyond stop_loss or take_profit already"
_TOO_SOON = "too soon"
RETRY_S, SLOWEST_S = 5.0, 300.0
"""Between two tries to protect a position after orders for it failed: doubled each time, up to the second."""
_BEYOND = ("51277", "51278", "51279", "51280", "51281")


def idle_holders(engine: Engine, broker: str, flatten: bool = False) -> Sequence[Row[Any]]:
    """Bots of a broker with a stop, take-profit or trailing stop that hold coins, have no live order, and
    whose kill switch is off, or (`flatten`) bots whose kill switch is to sell what they hold:
    (bot_id, name, symbol, config, quantity, cost)."""
    live = select(exchange_orders.c.bot_id).where(exchange_orders.c.state.in_(LIVE))
    risk = bots.c.config["risk"]
    wanted = or_(*(risk[field].as_string().is_not(None) for field in PROTECTED_BY))
    statement = (
        select(
            bots.c.id.label("bot_id"),
            bots.c.name,
            bots.c.symbol,
            bots.c.config,
            positions.c.quantity,
            positions.c.cost,
        )
        .join(positions, positions.c.bot_id == bots.c.id)
        .where(
            bots.c.config["broker"].as_string() == broker,
            positions.c.quantity > 0,
            bots.c.id.notin_(live),
            killed(bots.c.id, flatten=True) if flatten else and_(wanted, ~killed(bots.c.id)),
        )
    )
    with engine.connect() as connection:
        return connection.execute(statement).all()


def withdraw_partly_filled(engine: Engine, broker: str) -> int:
    """Have the rest of limit entries cancelled that have bought something, where what was bought is to have a
    stop or a profit: these wait until no order of the bot is live."""
    risk = bots.c.config["risk"]
    guarded = select(bots.c.id).where(
        bots.c.id == exchange_orders.c.bot_id,
        or_(*(risk[field].as_string().is_not(None) for field in PROTECTED_BY)),
    )
    chosen = (
        exchange_orders.c.broker == broker,
        exchange_orders.c.state == SubmissionState.WORKING.value,
        exchange_orders.c.kind == OrderKind.LIMIT.value,
        exchange_orders.c.filled_quantity > 0,
        guarded.exists(),
    )
    with engine.begin() as connection:
        return mark(connection, "what it has bought is protected", *chosen)


def protect(
    engine: Engine, broker: str, bot_id: int, quantity: Decimal, prices: Mapping[str, Decimal | None]
) -> str | None:
    """Store what protects what a bot holds, named after its last entry; its id, or None when the
    account has changed meanwhile, so that it has to be looked at again.

    prices: stop_price and profit_price, or trail; without any the coins are sold at once, as the kill switch
    wants
    """
    with engine.begin() as connection:
        now_held: Decimal = connection.execute(
            select(positions.c.quantity).where(positions.c.bot_id == bot_id).with_for_update()
        ).scalar_one()
        of_bot = exchange_orders.c.bot_id == bot_id
        live = select(func.count()).where(of_bot, exchange_orders.c.state.in_(LIVE))
        if now_held < quantity or connection.execute(live).scalar_one():
            return None
        entry = connection.execute(
            select(exchange_orders.c.order_id, orders.c.signal_id, orders.c.timestamp)
            .join(orders, orders.c.id == exchange_orders.c.order_id)
            .where(of_bot, exchange_orders.c.side == Side.BUY.value, exchange_orders.c.filled_quantity > 0)
            .order_by(orders.c.timestamp.desc())
            .limit(1)
        ).one_or_none()
        if entry is None:
            return None
        stopped = _refused_before(connection, bot_id, entry.order_id)
        if stopped == _TOO_SOON:
            return None
        reason = stopped or (None if prices else FLATTENED)
        return _store(connection, broker, bot_id, entry, quantity, {} if stopped else prices, reason)


def is_beyond(reason: str | None) -> bool:
    """Whether an exchange refused a stop or a take-profit because the price has passed it already."""
    return (reason or "").partition(" ")[0] in _BEYOND


def _refused_before(connection: Connection, bot_id: int, entry_id: str) -> str | None:
    """How the last tries to sell or protect an entry failed: `_BEYOND_ALREADY` when the price had passed the
    trigger, and the position is to be sold at once; `_TOO_SOON` after any other failure for a while, which
    grows; None: nothing is in the way."""
    tries = connection.execute(
        select(
            exchange_orders.c.state,
            orders.c.reason,
            func.extract("epoch", func.now() - exchange_orders.c.updated_at).label("ago_s"),
        )
        .join(orders, orders.c.id == exchange_orders.c.order_id)
        .where(
            exchange_orders.c.bot_id == bot_id, _of_entry(entry_id), exchange_orders.c.side == Side.SELL.value
        )
        .order_by(exchange_orders.c.created_at.desc())
        .limit(10)
    ).all()
    failed = list(takewhile(lambda one: one.state == SubmissionState.REJECTED.value, tries))
    if not failed:
        return None
    if is_beyond(failed[0].reason):
        return _BEYOND_ALREADY
    wait_s = min(RETRY_S * 2 ** (len(failed) - 1), SLOWEST_S)
    return _TOO_SOON if failed[0].ago_s < wait_s else None


def _store(
    connection: Connection,
    broker: str,
    bot_id: int,
    entry: Row[Any],
    quantity: Decimal,
    prices: Mapping[str, Decimal | None],
    reason: str | None,
) -> str:
    stop, profit, trail = (prices.get(name) for name in ("stop_price", "profit_price", "trail"))
    kind = _kind(stop, profit, trail)
    bot = connection.execute(select(bots.c.name, bots.c.symbol).where(bots.c.id == bot_id)).one()
    earlier = select(func.count()).where(exchange_orders.c.bot_id == bot_id, _of_entry(entry.order_id))
    name = decision_id(bot.name, to_ms(entry.timestamp), connection.execute(earlier).scalar_one())
    both: dict[str, Any] = {"bot_id": bot_id, "side": Side.SELL.value, "quantity": quantity}
    shown = insert(orders).values(
        **both,
        id=name,
        signal_id=entry.signal_id,
        timestamp=entry.timestamp,
        order_type=kind.value,
        price=stop or profit,
        status=SUBMITTING,
        reason=reason or _REASONS[kind],
    )
    connection.execute(shown)
    row = insert(exchange_orders).values(
        **both,
        order_id=name,
        broker=broker,
        client_id=client_id(name),
        symbol=bot.symbol,
        kind=kind.value,
        stop_price=stop,
        profit_price=profit,
        trail=trail,
        state=SubmissionState.SUBMITTING.value,
    )
    connection.execute(row)
    return name


def _kind(stop: Decimal | None, profit: Decimal | None, trail: Decimal | None) -> OrderKind:
    """What an order with these terms is; one without any sells at the market."""
    if stop and profit:
        return OrderKind.OCO
    if stop or profit:
        return OrderKind.STOP if stop else OrderKind.TAKE_PROFIT
    return OrderKind.TRAILING_STOP if trail else OrderKind.MARKET


def _of_entry(entry_id: str) -> ColumnElement[bool]:
    """An entry and whatever was stored to protect it."""
    return exchange_orders.c.order_id.startswith(entry_id.removesuffix("0"), autoescape=True)
