"""Whether real orders leave, for whoever asks: settings, keys, the process that sends, what it has to do."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import Engine, func, select, update

from config.real_orders import BROKER_OF, keys_file, why_off
from config.settings import Settings
from core.errors import BadInput
from pipelines.exchanges.okx.keys import load_keys
from pipelines.warehouse.exchange_orders import LIVE
from pipelines.warehouse.health import record_event
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


class Balance(msgspec.Struct, frozen=True):
    """A currency of an account, as last compared.

    held: by the account; traded: by all our matches; others: what it held beside them when it was first seen
    """

    broker: str
    currency: str
    held: Decimal
    traded: Decimal
    others: Decimal
    checked_at: datetime

    @property
    def difference(self) -> Decimal:
        """What nothing explains."""
        return self.held - self.traded - self.others


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
    reason = reason or sender_is_missing(engine, broker)
    return RealOrders(broker, reason is None, reason, live, differences)


def balances(engine: Engine) -> list[Balance]:
    """Every currency that bots with a real broker have traded, as last compared."""
    table = exchange_balances
    with engine.connect() as connection:
        rows = connection.execute(select(table).order_by(table.c.broker, table.c.currency))
        return [Balance(**{name: getattr(row, name) for name in Balance.__struct_fields__}) for row in rows]


def accept_balances(engine: Engine) -> list[Balance]:
    """From now on what the accounts hold beyond our matches is others', as last compared; returns what
    differed. Kept as an event."""
    differing = [balance for balance in balances(engine) if balance.difference]
    table = exchange_balances
    with engine.begin() as connection:
        for balance in differing:
            of_balance = (table.c.broker == balance.broker, table.c.currency == balance.currency)
            as_seen = (table.c.held == balance.held, table.c.traded == balance.traded)
            changed = update(table).where(*of_balance, *as_seen).values(others=balance.held - balance.traded)
            if connection.execute(changed).rowcount != 1:
                raise BadInput("balances", "were compared again just now: look at them, and accept them then")
    if differing:
        told = ", ".join(
            f"{one.difference.normalize():+f} {one.currency} ({one.broker})" for one in differing
        )
        record_event(engine, "warning", "orders", "balances_accepted", f"accepted as others': {told}")
    return differing


def sender_is_missing(engine: Engine, broker: str) -> str | None:
    """Why nobody sends orders to a broker, as far as the heartbeat of the process that should tells; None:
    somebody does."""
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
