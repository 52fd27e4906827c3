"""A bot's orders and fills as rows. An order that can still be filled is kept whole, so that a process that
begins anew goes on with exactly what the one before had."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import json
from sqlalchemy import Connection, Row, and_, func, select
from sqlalchemy.dialects.postgresql import insert

from core.orders import WORKING, BookLevel, Execution, Order, OrderType
from core.trades import Side
from pipelines.warehouse.sql import to_datetime, to_ms
from pipelines.warehouse.tables import orders, trades

_WORKING = tuple(sorted(status.value for status in WORKING))


class OrderGone(Exception):
    """The stored order cannot be filled any more: somebody withdrew it."""


def working_orders(connection: Connection, bot_id: int) -> tuple[Order | None, tuple[Order, ...]]:
    """The order that waits or is under way, and the protective ones that rest, as last stored."""
    statement = (
        select(orders)
        .where(orders.c.bot_id == bot_id, orders.c.status.in_(_WORKING))
        .order_by(orders.c.timestamp, orders.c.id)
    )
    found = [_order(row) for row in connection.execute(statement)]
    resting = tuple(order for order in found if order.is_protective and not order.triggered)
    waiting = [order for order in found if order not in resting]
    return (waiting[-1] if waiting else None), resting


def write_orders(connection: Connection, bot_id: int, changed: Sequence[Order]) -> None:
    """Store new and changed orders; OrderGone if one of them is not to be filled any more."""
    for order in changed:
        values = _values(order)
        row = insert(orders).values(id=order.id, bot_id=bot_id, **_decided(order), **values)
        # Only a working order may change; one that was cancelled meanwhile is not to be filled.
        written = connection.execute(
            row.on_conflict_do_update(
                index_elements=["id"],
                set_={**values, "updated_at": func.now()},
                where=and_(orders.c.id == order.id, orders.c.status.in_(_WORKING)),
            ).returning(orders.c.id)
        ).one_or_none()
        if written is None:
            raise OrderGone(f"order {order.id} is not open any more")


def write_executions(connection: Connection, bot_id: int, executions: Sequence[Execution]) -> None:
    """Store fills; those that are stored already stay as they are."""
    for execution in executions:
        fill, order = execution.fill, execution.order
        row = insert(trades).values(
            id=execution.id,
            bot_id=bot_id,
            signal_id=order.signal_id,
            order_id=order.id,
            timestamp=to_datetime(fill.timestamp_ms),
            side=fill.side.value,
            price=fill.price,
            quantity=fill.quantity,
            fees=fill.fee,
            pnl=execution.pnl,
            balance_after=execution.cash_after,
            recovered=execution.recovered,
            book=None if execution.level is None else _level(execution.level),
        )
        connection.execute(row.on_conflict_do_nothing())


def _level(level: BookLevel) -> dict[str, Any]:
    return {
        "timestamp": to_datetime(level.timestamp_ms).isoformat(),
        "sequence": level.sequence,
        "price": str(level.price),
        "size": str(level.size),
    }


def _decided(order: Order) -> dict[str, Any]:
    """What stays as it was decided."""
    return {
        "signal_id": order.signal_id,
        "timestamp": to_datetime(order.timestamp_ms),
        "side": order.side.value,
        "order_type": order.order_type.value,
        "limit_price": order.limit,
        "expires_at": None if order.expires_ms is None else to_datetime(order.expires_ms),
        "oco": order.oco,
    }


def _values(order: Order) -> dict[str, Any]:
    """What may change."""
    return {
        "price": order.price,
        "trigger_price": order.trigger,
        "quantity": order.quantity,
        "filled_quantity": order.filled_quantity,
        "status": order.status.value,
        "reason": order.reason,
        # Through bytes: exact decimals are texts in there.
        "state": json.decode(json.encode(order)) if order.status in WORKING else None,
    }


def _order(row: Row[Any]) -> Order:
    if row.state is not None:
        return msgspec.convert(row.state, Order)
    return Order(  # of a version that knew orders at the market only
        id=row.id,
        signal_id=row.signal_id,
        side=Side(row.side),
        order_type=OrderType(row.order_type),
        timestamp_ms=to_ms(row.timestamp),
        price=row.price,
        quantity=row.quantity,
    )
