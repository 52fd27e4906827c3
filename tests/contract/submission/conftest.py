"""A bot with a real broker, an exchange that answers as told, and decisions as the bot stores them."""

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.ids import decision_id
from core.orders import Order, OrderType
from core.trades import Side
from pipelines.warehouse import exchange_orders
from pipelines.warehouse.bots import find_bot
from pipelines.warehouse.database import engine as engine_of
from tests.bot_bench import add_bot
from tests.exchange_account import FakeAccount
from tests.submitting import AT_MS, BROKER, Decide

_DECISION = (
    text("""
        INSERT INTO signals (id, bot_id, timestamp, signal_type, price, confidence, indicators)
        VALUES (:id, :bot, to_timestamp(:at), :side, 100, 1, '{}')
    """),
    text("""
        INSERT INTO orders (id, bot_id, signal_id, timestamp, side, order_type, price, quantity, status)
        VALUES (:id, :bot, :id, to_timestamp(:at), :side, :kind, 100, :quantity, 'open')
    """),
)


@pytest.fixture
def engine(database_url: str) -> Engine:
    """A database with the bot `real`, which has 1,000 USDT and a stop."""
    engine = engine_of(database_url)
    add_bot(engine, "real", broker=BROKER, virtual_balance=1000, risk={"stop_loss": 0.1, "take_profit": 0.2})
    return engine


@pytest.fixture
def account() -> FakeAccount:
    """An exchange that takes everything until told otherwise."""
    return FakeAccount()


@pytest.fixture
def decide(engine: Engine) -> Decide:
    """Stores a decision as a bot does; returns the order's id."""
    turns = iter(range(1, 100))

    def decide(side: Side, quantity: str = "1", kind: OrderType = OrderType.MARKET) -> str:
        at_ms = AT_MS + next(turns) * 60_000
        name, bot_id = decision_id("real", at_ms), find_bot(engine, "real").id
        order = Order(
            id=name,
            signal_id=name,
            side=side,
            order_type=kind,
            timestamp_ms=at_ms,
            price=Decimal(100),
            quantity=Decimal(quantity),
        )
        values: dict[str, Any] = {"id": name, "bot": bot_id, "side": side.value, "at": at_ms / 1000}
        values |= {"kind": kind.value, "quantity": order.quantity}
        with engine.begin() as connection:
            for statement in _DECISION:
                connection.execute(statement, values)
            exchange_orders.submit(connection, bot_id, BROKER, "BTC-USDT", order)
        return name

    return decide
