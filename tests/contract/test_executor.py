"""The process's loop over all orders: what goes wrong with one of them is nobody else's affair."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Engine

from core.exchange_orders import client_id
from live.brokers.executor import Executor
from live.brokers.submission import Patience
from pipelines.bus.redis import RedisBus
from pipelines.clock import SystemClock
from pipelines.warehouse.database import engine as engine_of
from tests.bot_bench import scalar, until
from tests.broker_rig import BROKER, Traders
from tests.contract.test_real_orders_process import PRICES
from tests.exchange_account import FakeAccount

pytestmark = pytest.mark.servers
Told = tuple[str, ...]


@pytest.fixture
def engine(database_url: str) -> Engine:
    """The test's database."""
    return engine_of(database_url)


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisBus]:
    """The test's Redis."""
    bus = RedisBus(redis_url)
    yield bus
    await bus.close()


def status(engine: Engine, order_id: str) -> str:
    """In `orders`."""
    found: str = scalar(engine, "SELECT status FROM orders WHERE id = :id", id=order_id)
    return found


async def test_balances_that_nobody_can_read_hold_back_buys_alone(engine, bus):
    """The exchange never answers what the account holds: one bot's coins are sold all the same, another one's
    buy leaves when it does."""
    account, told = FakeAccount(), list[Told]()
    account.balances_open.clear()
    traders = Traders(engine, 1, PRICES)
    traders.add(2)
    (holder, _), *_ = traders.bots.items()
    with engine.begin() as connection:
        held = "UPDATE positions SET quantity = 1000, cost = 100 WHERE bot_id = %(bot)s"
        connection.exec_driver_sql(held, {"bot": holder})
    assert traders.decide(2) == 2
    query = "SELECT id FROM orders WHERE side = :side"
    sale, buy = (scalar(engine, query, side=side) for side in ("sell", "buy"))
    executor = Executor(BROKER, account, engine, bus, SystemClock(), lambda *event: told.append(event))
    running = asyncio.create_task(executor.run())
    try:
        await until(lambda: status(engine, sale) == "filled", "the sale is filled")
        assert status(engine, buy) == "submitting" and account.sent == [client_id(sale)]
        account.balances_open.set()
        await until(lambda: status(engine, buy) == "filled", "the buy is filled")
    finally:
        running.cancel()
        (ended,) = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)


async def test_a_start_while_the_exchange_is_away_waits_for_it(engine, bus):
    """It is told once, and the order that waits is filled when the exchange answers."""
    account, told = FakeAccount(), list[Told]()
    account.is_away = True
    traders = Traders(engine, 1, PRICES)
    traders.add(1)
    assert traders.decide(1) == 1
    order = scalar(engine, "SELECT id FROM orders")
    executor = Executor(BROKER, account, engine, bus, SystemClock(), lambda *event: told.append(event))
    running = asyncio.create_task(executor.run())
    try:
        await until(lambda: told != [], "that it waits is told")
        assert status(engine, order) == "submitting" and not running.done()
        account.is_away = False
        await until(lambda: status(engine, order) == "filled", "the order is filled")
    finally:
        running.cancel()
        (ended,) = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)
    assert [event for _, event, _ in told][:2] == ["exchange_away", "exchange_back"]


async def test_an_order_whose_answers_make_no_sense_is_parked_and_others_go_on(engine, bus):
    """It is told once and looked at again; another bot's order is filled meanwhile, and the odd one when its
    answers make sense."""
    account, told = FakeAccount(), list[Told]()
    traders = Traders(engine, 1, PRICES)
    traders.add(2)
    assert traders.decide(2) == 2
    with engine.connect() as connection:
        names = connection.exec_driver_sql("SELECT id FROM orders ORDER BY id").scalars().all()
    bad, good = names
    account.broken = {client_id(bad)}
    executor = Executor(
        BROKER,
        account,
        engine,
        bus,
        SystemClock(),
        lambda *event: told.append(event),
        Patience(look_s=0.05),
    )
    running = asyncio.create_task(executor.run())
    try:
        await until(lambda: status(engine, good) == "filled", "the good order is filled")
        await until(lambda: any(event == "order_stuck" for _, event, _ in told), "the bad one is told")
        assert status(engine, bad) == "submitted" and not running.done()
        account.broken = set()
        account.push("")
        await until(lambda: status(engine, bad) == "filled", "the bad one is filled too")
    finally:
        running.cancel()
        (ended,) = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)
    (stuck,) = [message for _, event, message in told if event == "order_stuck"]
    assert stuck == f"order {bad} cannot go on, and is tried every 10 s: KeyError: 'state'"
