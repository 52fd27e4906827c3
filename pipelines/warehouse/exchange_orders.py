"""Orders for a real exchange: each step of each committed before the next thing is done about it.

Whoever locks a bot's position, an order and its row here does it in that order.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    Text,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from core.exchange_orders import ExchangeOrder, OrderKind, SubmissionState, client_id, states_before
from core.orders import Order
from core.trades import Side
from pipelines.warehouse.controls import KILL_SWITCH
from pipelines.warehouse.sql import to_datetime, to_ms
from pipelines.warehouse.tables import bots, controls, orders, positions
from pipelines.warehouse.tables.exchange_orders import exchange_orders

LIVE = tuple(state.value for state in SubmissionState if not state.is_final)
SUBMITTING, SUBMITTED = "submitting", "submitted"
"""Status in `orders` before and after the exchange has an order; its last ones are those of every order."""
FLATTENED = "the kill switch sold the position"
"""Reason of the sale that a kill switch asks for, which it does not withdraw itself."""
COMPLAINT = "real orders: "
"""Begins what `bots.last_error` says of a bot that cannot sell or protect what it holds."""
ENTRY_KINDS = (OrderKind.MARKET.value, OrderKind.LIMIT.value)


def submit(connection: Connection, bot_id: int, broker: str, symbol: str, order: Order) -> None:
    """In the transaction of a decision: its order, already in `orders`, is to be sent."""
    kind = OrderKind.LIMIT if order.order_type.value == "limit" else OrderKind.MARKET
    row = insert(exchange_orders).values(
        order_id=order.id,
        bot_id=bot_id,
        broker=broker,
        client_id=client_id(order.id),
        symbol=symbol,
        side=order.side.value,
        kind=kind.value,
        quantity=order.quantity,
        limit_price=(order.trigger or order.price) if kind is OrderKind.LIMIT else None,
        state=SubmissionState.SUBMITTING.value,
    )
    connection.execute(row.on_conflict_do_nothing())
    connection.execute(update(orders).where(orders.c.id == order.id).values(status=SUBMITTING))


def live_orders(source: Engine | Connection, broker: str, bot_id: int | None = None) -> list[ExchangeOrder]:
    """The orders that are not over, oldest first; of one bot if given."""
    statement = (
        select(exchange_orders)
        .where(exchange_orders.c.broker == broker, exchange_orders.c.state.in_(LIVE))
        .order_by(exchange_orders.c.created_at, exchange_orders.c.order_id)
    )
    if bot_id is not None:
        statement = statement.where(exchange_orders.c.bot_id == bot_id)
    if isinstance(source, Connection):
        return [_order(row) for row in source.execute(statement)]
    with source.connect() as connection:
        return [_order(row) for row in connection.execute(statement)]


def read_order(engine: Engine, order_id: str) -> ExchangeOrder:
    """One order as it is stored now."""
    with engine.connect() as connection:
        statement = select(exchange_orders).where(exchange_orders.c.order_id == order_id)
        return _order(connection.execute(statement).one())


def unknown_ids(engine: Engine, broker: str, ids: Sequence[str]) -> list[str]:
    """Those of `ids` that no order here ever had."""
    known = select(exchange_orders.c.client_id).where(
        exchange_orders.c.broker == broker, exchange_orders.c.client_id.in_(ids)
    )
    with engine.connect() as connection:
        found: set[str] = set(connection.execute(known).scalars())
    return [ident for ident in ids if ident not in found]


def ended_orders(engine: Engine, broker: str, ids: Sequence[str], for_s: float) -> list[ExchangeOrder]:
    """Those of the client ids `ids` whose orders have been over here for at least so many seconds."""
    statement = select(exchange_orders).where(
        exchange_orders.c.broker == broker,
        exchange_orders.c.client_id.in_(ids),
        exchange_orders.c.state.notin_(LIVE),
        exchange_orders.c.updated_at <= func.now() - timedelta(seconds=for_s),
    )
    with engine.connect() as connection:
        return [_order(row) for row in connection.execute(statement)]


def claim(engine: Engine, order: ExchangeOrder, quantity: Decimal, deadline_ms: int) -> bool:
    """Write that a request is about to leave. False: somebody wants it withdrawn, or a kill switch is on, so
    nothing may leave."""
    with engine.begin() as connection:
        statement = (
            update(exchange_orders)
            .where(
                exchange_orders.c.order_id == order.order_id,
                exchange_orders.c.state == SubmissionState.SUBMITTING.value,
                exchange_orders.c.cancel_reason.is_(None),
                ~vetoed_by_kill_switch(),
            )
            .values(
                state=SubmissionState.SENDING.value,
                quantity=quantity,
                attempts=exchange_orders.c.attempts + 1,
                deadline_ms=deadline_ms,
                updated_at=func.now(),
            )
        )
        if connection.execute(statement).rowcount != 1:
            return False
        connection.execute(update(orders).where(orders.c.id == order.order_id).values(quantity=quantity))
        return True


def move(
    connection: Connection, order_id: str, state: SubmissionState, reason: str | None = None, **values: Any
) -> bool:
    """Take an order to `state` if the diagram leads there, its row in `orders` with it. False: it does not,
    because the step was made before."""
    before = [other.value for other in states_before(state)]
    statement = (
        update(exchange_orders)
        .where(exchange_orders.c.order_id == order_id, exchange_orders.c.state.in_(before))
        .values(state=state.value, updated_at=func.now(), **values)
    )
    if connection.execute(statement).rowcount != 1:
        return False
    shown = {"status": shown_status(state), "updated_at": func.now()}
    if reason is not None:
        shown["reason"] = reason
    connection.execute(update(orders).where(orders.c.id == order_id).values(shown))
    return True


def step(
    engine: Engine, order_id: str, state: SubmissionState, reason: str | None = None, **values: Any
) -> bool:
    """`move` in a transaction of its own."""
    with engine.begin() as connection:
        return move(connection, order_id, state, reason, **values)


def withdraw(connection: Connection, bot_id: int | None, reason: str, protective: bool) -> int:
    """Have live orders of a bot (None: of all) cancelled at the exchange; returns how many. The reason that
    came first stays. protective: stops and take-profits too."""
    chosen: list[ColumnElement[bool]] = []
    if bot_id is not None:
        chosen.append(exchange_orders.c.bot_id == bot_id)
    if not protective:
        chosen.append(exchange_orders.c.kind.in_(ENTRY_KINDS))
    return mark(connection, reason, *chosen)


def mark(connection: Connection, reason: str, *chosen: ColumnElement[bool]) -> int:
    """Want the live orders withdrawn that are chosen and that nobody wants withdrawn yet; returns how many.

    They are locked in the order of their ids, so that two who mark wait for each other and never for ever.
    """
    ids = (
        select(exchange_orders.c.order_id)
        .where(exchange_orders.c.state.in_(LIVE), exchange_orders.c.cancel_reason.is_(None), *chosen)
        .order_by(exchange_orders.c.order_id)
        .correlate(None)
        .with_for_update()
    )
    statement = (
        update(exchange_orders)
        .where(exchange_orders.c.order_id.in_(ids))
        .values(cancel_reason=reason, updated_at=func.now())
    )
    return connection.execute(statement).rowcount


def withdraw_killed(engine: Engine, broker: str) -> int:
    """Have every live order of bots whose kill switch is on cancelled, that of all bots included; not the
    sales that it asked for."""
    with engine.begin() as connection:
        return mark(
            connection, "the kill switch is on", exchange_orders.c.broker == broker, vetoed_by_kill_switch()
        )


def withdraw_expired(engine: Engine, broker: str, exchange_ms: int) -> int:
    """Have entries cancelled that have waited for as long as they may, by the exchange's clock."""
    expired = select(orders.c.id).where(
        orders.c.id == exchange_orders.c.order_id, orders.c.expires_at <= to_datetime(exchange_ms)
    )
    with engine.begin() as connection:
        why = "it waited for as long as it may"
        return mark(connection, why, exchange_orders.c.broker == broker, expired.exists())


def vetoed_by_kill_switch() -> ColumnElement[bool]:
    """Whether an order may not be at the exchange for the sake of a kill switch."""
    sold = select(orders.c.id).where(orders.c.id == exchange_orders.c.order_id, orders.c.reason == FLATTENED)
    return and_(killed(exchange_orders.c.bot_id), ~sold.exists())


def killed(bot_id: ColumnElement[int], flatten: bool = False) -> ColumnElement[bool]:
    """Whether a bot's kill switch, or that of all bots, is on; flatten: and asks for its coins to be sold."""
    return switches(bot_id, flatten).exists()


def switches(bot_id: ColumnElement[int], flatten: bool = False) -> Select[tuple[datetime]]:
    """When the kill switches that hold for a bot and are on were turned on; flatten: those that ask for its
    coins to be sold."""
    names = (literal(KILL_SWITCH), literal(f"{KILL_SWITCH}:").concat(cast(bot_id, Text)))
    on = select(controls.c.updated_at).where(controls.c.name.in_(names), controls.c.value["on"].as_boolean())
    return on.where(controls.c.value["flatten"].as_boolean()) if flatten else on


def withdraw_before_sale(engine: Engine, sale: ExchangeOrder, reason: str) -> bool:
    """Have the stops, take-profits and buys of a sale's bot cancelled; whether any is still live, or a sale
    that was decided before this one, which may sell the same coins."""
    of_bot = (exchange_orders.c.bot_id == sale.bot_id, exchange_orders.c.state.in_(LIVE))
    is_sale = and_(exchange_orders.c.kind.in_(ENTRY_KINDS), exchange_orders.c.side == Side.SELL.value)
    this = exchange_orders.alias()
    turn = select(this.c.created_at).where(this.c.order_id == sale.order_id).scalar_subquery()
    earlier = tuple_(exchange_orders.c.created_at, exchange_orders.c.order_id) < tuple_(
        turn, literal(sale.order_id)
    )
    with engine.begin() as connection:
        mark(connection, reason, *of_bot, ~is_sale)
        waits = select(func.count()).where(*of_bot, or_(~is_sale, earlier))
        return connection.execute(waits).scalar_one() > 0


def held(engine: Engine, bot_id: int) -> Decimal:
    """Base currency in a bot's account."""
    statement = select(positions.c.quantity).where(positions.c.bot_id == bot_id)
    with engine.connect() as connection:
        return connection.execute(statement).scalar_one()


def complain(engine: Engine, bot_id: int, why: str | None) -> None:
    """Show with a bot what keeps it from selling or from protecting what it holds; None: nothing does any
    more, and a complaint of this kind is taken back."""
    statement = update(bots).where(bots.c.id == bot_id)
    if why is None:
        statement = statement.where(bots.c.last_error.startswith(COMPLAINT)).values(last_error=None)
    else:
        statement = statement.values(last_error=COMPLAINT + why)
    with engine.begin() as connection:
        connection.execute(statement)


def shown_status(state: SubmissionState) -> str:
    """What the `orders` row says of an order at an exchange: never open, which is what paper fills."""
    if state in {SubmissionState.SUBMITTING, SubmissionState.SENDING}:
        return SUBMITTING
    return SUBMITTED if state is SubmissionState.WORKING else state.value


def _order(row: Row[Any]) -> ExchangeOrder:
    values: dict[str, Any] = {name: getattr(row, name) for name in _FIELDS}
    values |= {
        "side": Side(row.side),
        "kind": OrderKind(row.kind),
        "state": SubmissionState(row.state),
        "created_ms": to_ms(row.created_at),
    }
    return ExchangeOrder(**values)


_FIELDS: Iterable[str] = tuple(name for name in ExchangeOrder.__struct_fields__ if name != "created_ms")
