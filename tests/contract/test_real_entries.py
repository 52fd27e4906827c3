"""Limit entries and trailing stops on the simulated exchange, by the executor as it runs, told on the bus."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.exposure import PortfolioLimits
from core.ids import decision_id
from core.orders import Order, OrderType
from core.portfolio import Portfolio
from core.trades import Side
from live.brokers.executor import Executor
from pipelines.bus.redis import RedisBus
from pipelines.clock import SystemClock
from pipelines.exchanges.ccxt.okx_trading import OkxTrading
from pipelines.exchanges.okx.keys import Keys
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve
from pipelines.warehouse.bots import find_bot, set_status
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.exchange_orders import submit
from pipelines.warehouse.exposure import admit, store_limits
from tests.bot_bench import add_bot, scalar, until
from tests.broker_rig import BROKER, KEYS, START_MS, Traders

pytestmark = pytest.mark.servers
D = Decimal
PATIENCE_S = 90
_SIGNAL = text("""
    INSERT INTO signals (id, bot_id, timestamp, signal_type, price, confidence, indicators)
    VALUES (:id, :bot, to_timestamp(:at), 'buy', :price, 1, '{}')
""")
_ORDER = text("""
    INSERT INTO orders (id, bot_id, signal_id, timestamp, side, order_type, price, quantity, status,
        expires_at)
    VALUES (:id, :bot, :id, to_timestamp(:at), 'buy', 'limit', :price, :quantity, 'open',
        to_timestamp(:expires))
""")


@pytest.fixture
async def exchange() -> AsyncIterator[RunningSim]:
    """A market at 120 times its pace."""
    running = await serve(SimOptions(start_ms=START_MS, speed=120, connection_limits=False))
    yield running
    await running.close()


@pytest.fixture
def engine(database_url: str) -> Engine:
    """The test's database."""
    return engine_of(database_url)


def last(exchange: RunningSim, symbol: str) -> tuple[Decimal, int]:
    """The exchange's last price, and its time."""
    with urllib.request.urlopen(f"{exchange.rest_url}/api/v5/market/ticker?instId={symbol}") as answer:
        row = json.load(answer)["data"][0]
    return D(row["last"]), int(row["ts"])


def enter(engine: Engine, traders: Traders, bot_id: int, at_ms: int, price: Decimal, expires_ms: int) -> str:
    """A bot's decision to buy for 200 USDT at a limit, as it is committed."""
    name, symbol = traders.bots[bot_id]
    ident = decision_id(name, at_ms)
    order = Order(
        id=ident,
        signal_id=ident,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        timestamp_ms=at_ms,
        price=price * 2,
        trigger=price,
        quantity=(D(200) / price).quantize(D("0.001")),
    )
    values = {"id": ident, "bot": bot_id, "price": order.price, "quantity": order.quantity}
    values |= {"at": at_ms / 1000, "expires": expires_ms / 1000}
    with engine.begin() as connection:
        connection.execute(_SIGNAL, values)
        connection.execute(_ORDER, values)
        submit(connection, bot_id, BROKER, symbol, order)
    return ident


async def test_a_limit_entry_is_filled_and_its_trailing_stop_ends_the_position(engine, exchange, redis_url):
    """One bot's limit rests a little below the market, is filled, and gets a trailing stop at the exchange,
    which fires; another one's is too low and is withdrawn when its time is over. Each match is told."""
    traders = Traders(engine, 1, {})
    traders.add(2, risk={"trailing_stop": 0.001})
    (near, (_, symbol)), (far, (_, other)) = traders.bots.items()
    bus, heard = RedisBus(redis_url), list[dict[str, Any]]()
    account = OkxTrading(Keys(*KEYS.values()), True, {"rest": exchange.rest_url, "ws": exchange.ws_url})
    executor = Executor(BROKER, account, engine, bus, SystemClock(), lambda *_: None)

    def told() -> list[str]:
        return [trade["id"] for one in heard if one.get("event") == "trade" for trade in one["trades"]]

    async def listen() -> None:
        async for _, message in bus.subscribe([f"status:{traders.bots[near][0]}"]):
            heard.append(message)

    tasks = [asyncio.create_task(listen())]
    try:
        await until(lambda: bool(heard), "the subscription")
        tasks.append(asyncio.create_task(executor.run()))
        price, now_ms = await asyncio.to_thread(last, exchange, symbol)
        away, _ = await asyncio.to_thread(last, exchange, other)
        limit = (price * D("0.9997")).quantize(D("0.01"))
        entry = enter(engine, traders, near, now_ms, limit, now_ms + 10**8)
        hopeless = enter(engine, traders, far, now_ms, (away / 2).quantize(D("0.01")), now_ms + 600_000)
        closed = "SELECT total_trades FROM positions WHERE bot_id = :bot"
        await until(lambda: scalar(engine, closed, bot=near) == 1, "a round trip", PATIENCE_S)
        state = "SELECT status || ': ' || reason FROM orders WHERE id = :name"
        over = "cancelled: it waited for as long as it may"
        await until(lambda: scalar(engine, state, name=hopeless) == over, "the withdrawal", PATIENCE_S)
        stored = scalar(engine, "SELECT array_agg(id ORDER BY id) FROM trades")
        await until(lambda: sorted(told()) == stored, "the news of every match")
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await account.close()
        await bus.close()
    assert all(isinstance(one, asyncio.CancelledError) for one in ended), ended
    with engine.connect() as connection:
        prices = text("SELECT side, max(price), min(order_id) FROM trades GROUP BY side ORDER BY side")
        (_, paid, by), (_, _, stop) = connection.execute(prices).all()
    assert paid <= limit and by == entry
    assert scalar(engine, "SELECT order_type FROM orders WHERE id = :stop", stop=stop) == "trailing_stop"


async def test_an_order_that_waits_at_the_exchange_takes_its_room_from_other_bots(
    engine, exchange, redis_url
):
    """200 USDT of one bot wait there, 250 are allowed over all bots: another one gets 60 only when the order
    is withdrawn, and 40 at any time."""
    traders = Traders(engine, 1, {})
    traders.add(1)
    ((bot_id, (_, symbol)),) = traders.bots.items()
    add_bot(engine, "paper", symbol=symbol, virtual_balance=1000)
    store_limits(engine, PortfolioLimits(max_exposure=D(250)))
    paper = find_bot(engine, "paper")

    def refused(value: int) -> str | None:
        buy = Order(
            id="paper-1-0",
            signal_id="paper-1-0",
            side=Side.BUY,
            order_type=OrderType.MARKET,
            timestamp_ms=START_MS,
            price=D(100),
            quantity=D(value) / 100,
            budget=D(value),
        )
        with engine.begin() as connection:
            return admit(connection, paper.id, buy, Portfolio(D(1000)))

    bus = RedisBus(redis_url)
    account = OkxTrading(Keys(*KEYS.values()), True, {"rest": exchange.rest_url, "ws": exchange.ws_url})
    executor = Executor(BROKER, account, engine, bus, SystemClock(), lambda *_: None)
    price, now_ms = await asyncio.to_thread(last, exchange, symbol)
    entry = enter(engine, traders, bot_id, now_ms, (price / 2).quantize(D("0.01")), now_ms + 10**8)
    state = "SELECT status FROM orders WHERE id = :name"
    said = "over all bots: exposure would be"
    assert (refused(60) or "").startswith(said) and refused(40) is None  # before it has left
    running = asyncio.create_task(executor.run())
    try:
        await until(lambda: scalar(engine, state, name=entry) == "submitted", "it waits", PATIENCE_S)
        assert (refused(60) or "").startswith(said) and refused(40) is None
        set_status(engine, traders.bots[bot_id][0], "paused")
        await until(lambda: scalar(engine, state, name=entry) == "cancelled", "it is withdrawn", PATIENCE_S)
        assert refused(60) is None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await account.close()
        await bus.close()
