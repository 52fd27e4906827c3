"""Whether real orders leave, for whoever asks: settings, keys, the process that sends, what it has to do."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Engine, func, select

from config.real_orders import BROKER_OF, keys_file, why_off
from config.settings import Settings
from core.errors import BadInput
from pipelines.exchanges.okx.keys import load_keys
from pipelines.warehouse.exchange_orders import LIVE
from pipelines.warehouse.tables import exchange_balances, exchange_orders, heartbeats

SILENT_S = 15
"""Without a heartbeat for so long, the process that sends orders counts as gone."""


class RealOrders(msgspec.Struct, frozen=True):
    """on: they are sent; why_off: else why not; live: orders under way; differences: of balances."""

    broker: str
    on: bool
    why_off: str | None
    live: int = 0
    differences: dict[str, Decimal] = {}


def check_keys(settings: Settings) -> str | None:
    """What is wrong with the keys; None: nothing that can be seen from here."""
    try:
        load_keys(keys_file(settings))
    except BadInput as error:
        return str(error)
    return None


def real_orders(engine: Engine, settings: Settings, broker: str) -> RealOrders:
    """The state of a broker."""
    reason = why_off(settings, broker)
    if broker == "paper":
        return RealOrders(broker, False, reason)
    with engine.connect() as connection:
        live = connection.execute(
            select(func.count()).where(exchange_orders.c.broker == broker, exchange_orders.c.state.in_(LIVE))
        ).scalar_one()
        gap = exchange_balances.c.held - exchange_balances.c.traded - exchange_balances.c.others
        differing = connection.execute(
            select(exchange_balances.c.currency, gap).where(exchange_balances.c.broker == broker, gap != 0)
        )
        differences: dict[str, Decimal] = dict(row._tuple() for row in differing)
    reason = reason or _sender_is_missing(engine, broker)
    return RealOrders(broker, reason is None, reason, live, differences)


def _sender_is_missing(engine: Engine, broker: str) -> str | None:
    """Why nobody sends, as far as the heartbeat of the process that should tells."""
    statement = select(heartbeats.c.timestamp, heartbeats.c.details).where(heartbeats.c.component == "orders")
    with engine.connect() as connection:
        beat = connection.execute(statement).one_or_none()
    if beat is None:
        return "the process that sends them never ran: start `tcp live` with TCP_REAL_ORDERS set"
    details: dict[str, Any] = beat.details
    if problem := details.get("problem"):
        return str(problem)
    if datetime.now(UTC) - beat.timestamp > timedelta(seconds=SILENT_S):
        return f"the process that sends them was last heard of at {beat.timestamp:%Y-%m-%d %H:%M:%S} UTC"
    if details.get("broker") != broker:
        return f"the process that sends them trades on {details.get('broker')}"
    return None


def broker_in_force(settings: Settings) -> str | None:
    """The broker that the settings let trade; None while real orders are off."""
    return BROKER_OF.get(settings.real_orders)
