"""Positions at a real exchange that need an order: a stop, a take-profit, a sale that a kill switch wants."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import takewhile
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert

from core.bot_states import Desired
from core.exchange_orders import OrderKind, SubmissionState, client_id
from core.ids import decision_id
from core.trades import Side
from pipelines.warehouse.exchange_orders import FLATTENED, LIVE, SUBMITTING, killed, mark, switches
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
_CANCELLED_THERE = "the exchange cancelled the sale before this one"
RETRY_S, SLOWEST_S = 5.0, 300.0
"""Between two tries to protect or sell a position after orders for it failed: doubled each time, up to the
second."""
_BEYOND = ("51277", "51278", "51279", "51280", "51281")
_HAS_FAILED = and_(
    exchange_orders.c.side == Side.SELL.value,
    or_(
        exchange_orders.c.state == SubmissionState.REJECTED.value,
        # the exchange took it, and nobody here wanted it withdrawn
        and_(
            exchange_orders.c.state == SubmissionState.CANCELLED.value,
            exchange_orders.c.exchange_id.is_not(None),
            exchange_orders.c.cancel_reason.is_(None),
        ),
    ),
)

Prices = Mapping[str, Decimal | None]
"""stop_price and profit_price, or trail."""


def idle_holders(engine: Engine, broker: str, flatten: bool = False) -> Sequence[Row[Any]]:
    """Bots of a broker with a stop, take-profit or trailing stop, or whose last sale the exchange cancelled,
    that hold coins, have no live order, and whose kill switch is off, or (`flatten`) bots whose kill switch
    is to sell what they hold: (bot_id, name, symbol, config, quantity, cost)."""
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
            killed(bots.c.id, flatten=True)
            if flatten
            else and_(or_(wanted, _last_sale_failed()), ~killed(bots.c.id)),
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


def protect(engine: Engine, broker: str, bot_id: int, quantity: Decimal, prices: Prices | None) -> str | None:
    """Store what protects or sells what a bot holds, named after its last entry; its id, or None when there
    is nothing to do, it is too soon after a failure, or the account has changed meanwhile.

    prices: stop_price and profit_price, or trail, as far as they are wanted; None: the kill switch wants the
    coins sold
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
            select(
                exchange_orders.c.order_id,
                exchange_orders.c.created_at,
                orders.c.signal_id,
                orders.c.timestamp,
            )
            .join(orders, orders.c.id == exchange_orders.c.order_id)
            .where(of_bot, exchange_orders.c.side == Side.BUY.value, exchange_orders.c.filled_quantity > 0)
            .order_by(orders.c.timestamp.desc())
            .limit(1)
        ).one_or_none()
        if entry is None:
            return None
        found = select(bots.c.id, bots.c.name, bots.c.symbol, bots.c.status).where(bots.c.id == bot_id)
        bot = connection.execute(found).one()
        terms = _terms(connection, bot, entry, prices)
        return None if terms is None else _store(connection, broker, bot, entry, quantity, *terms)


def is_beyond(reason: str | None) -> bool:
    """Whether an exchange refused a stop or a take-profit because the price has passed it already."""
    return (reason or "").partition(" ")[0] in _BEYOND


def _terms(
    connection: Connection, bot: Row[Any], entry: Row[Any], prices: Prices | None
) -> tuple[Prices, str | None] | None:
    """Prices of what is to be stored, none of them for a sale, and why it is one; None: nothing is, for now.

    A sale that the kill switch wants waits for failures of its own alone.
    """
    since = entry.created_at
    if prices is None:
        turned_on = switches(literal(bot.id), flatten=True)
        since = max([since, *connection.execute(turned_on).scalars()])
    failed = _failed_tries(connection, bot.id, since)
    if failed and prices is not None and is_beyond(failed[0].reason):
        return {}, _BEYOND_ALREADY
    if failed and failed[0].ago_s < min(RETRY_S * 2 ** (len(failed) - 1), SLOWEST_S):
        return None
    if prices is None:
        return {}, FLATTENED
    was_sale = bool(failed) and failed[0].kind == OrderKind.MARKET.value
    if was_sale and bot.status == Desired.ACTIVE.value:
        return {}, _CANCELLED_THERE
    return (prices, None) if any(prices.values()) else None


def _failed_tries(connection: Connection, bot_id: int, since: datetime) -> list[Row[Any]]:
    """The last sales, stops and take-profits of a bot, newest first, as far as all of them failed."""
    tries = connection.execute(
        select(
            _HAS_FAILED.label("has_failed"),
            exchange_orders.c.kind,
            orders.c.reason,
            func.extract("epoch", func.now() - exchange_orders.c.updated_at).label("ago_s"),
        )
        .join(orders, orders.c.id == exchange_orders.c.order_id)
        .where(
            exchange_orders.c.bot_id == bot_id,
            exchange_orders.c.side == Side.SELL.value,
            exchange_orders.c.created_at >= since,
        )
        .order_by(exchange_orders.c.created_at.desc())
        .limit(10)
    )
    return list(takewhile(lambda one: one.has_failed, tries))


def _last_sale_failed() -> ColumnElement[bool]:
    """Whether the newest order of a bot that trades is a sale which the exchange took and cancelled."""
    newest = (
        select(and_(_HAS_FAILED, exchange_orders.c.kind == OrderKind.MARKET.value))
        .join(orders, orders.c.id == exchange_orders.c.order_id)
        .where(orders.c.bot_id == bots.c.id)
        .order_by(orders.c.timestamp.desc())
        .limit(1)
        .scalar_subquery()
    )
    return and_(bots.c.status == Desired.ACTIVE.value, newest)


def _store(
    connection: Connection,
    broker: str,
    bot: Row[Any],
    entry: Row[Any],
    quantity: Decimal,
    prices: Prices,
    reason: str | None,
) -> str:
    stop, profit, trail = (prices.get(name) for name in ("stop_price", "profit_price", "trail"))
    kind = _kind(stop, profit, trail)
    earlier = select(func.count()).where(exchange_orders.c.bot_id == bot.id, _of_entry(entry.order_id))
    name = decision_id(bot.name, to_ms(entry.timestamp), connection.execute(earlier).scalar_one())
    both: dict[str, Any] = {"bot_id": bot.id, "side": Side.SELL.value, "quantity": quantity}
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
