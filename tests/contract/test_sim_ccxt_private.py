"""An unmodified ccxt trades on the simulated exchange as it does on OKX."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import ccxt
import ccxt.pro
import pytest

from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve

START_MS = 1_790_000_000_000
KEY = {"apiKey": "sim-key", "secret": "sim-secret", "password": "sim-passphrase"}


@pytest.fixture
async def running() -> AsyncIterator[RunningSim]:
    """An exchange at speed 60 with an account of 100,000 USDT and 2 BTC."""
    started = await serve(SimOptions(start_ms=START_MS, speed=60, balances={"USDT": "100000", "BTC": "2"}))
    yield started
    await started.close()


@pytest.fixture
async def okx(running: RunningSim) -> AsyncIterator[Any]:
    """`ccxt.pro.okx` with a key and the simulated exchange's addresses."""
    exchange = ccxt.pro.okx(KEY)
    exchange.set_sandbox_mode(True)
    exchange.urls["api"]["rest"] = running.rest_url
    exchange.urls["api"]["ws"] = running.ws_url
    yield exchange
    await exchange.close()


async def test_a_limit_order_is_created_fetched_and_cancelled(okx):
    """Its funds are kept while it is open and free again after."""
    last = (await okx.fetch_ticker("BTC/USDT"))["last"]
    price = okx.price_to_precision("BTC/USDT", last * 0.5)
    created = await okx.create_order("BTC/USDT", "limit", "buy", 0.01, price)
    (pending,) = await okx.fetch_open_orders("BTC/USDT")
    assert (pending["id"], pending["status"], pending["amount"]) == (created["id"], "open", 0.01)
    balance = await okx.fetch_balance()
    assert balance["USDT"]["used"] == pytest.approx(0.01 * float(price))
    await okx.cancel_order(created["id"], "BTC/USDT")
    assert (await okx.fetch_order(created["id"], "BTC/USDT"))["status"] == "canceled"
    assert (await okx.fetch_balance())["USDT"]["free"] == 100_000
    assert [order["id"] for order in await okx.fetch_canceled_orders("BTC/USDT")] == [created["id"]]


async def test_market_orders_trade_and_pay_from_what_is_received(okx):
    """A buy pays its fee in BTC, a sell in USDT; fills, fees and balances agree."""
    buy = await okx.create_order("BTC/USDT", "market", "buy", 0.1)
    order = await okx.fetch_order(buy["id"], "BTC/USDT")
    assert (order["status"], order["filled"], order["fee"]["currency"]) == ("closed", 0.1, "BTC")
    assert order["fee"]["cost"] == pytest.approx(0.0001)
    sell = await okx.create_order("BTC/USDT", "market", "sell", 0.1)
    trades = await okx.fetch_my_trades("BTC/USDT")
    assert {trade["order"] for trade in trades} == {buy["id"], sell["id"]}
    assert {trade["takerOrMaker"] for trade in trades} == {"taker"}
    balance = await okx.fetch_balance()
    assert balance["BTC"]["total"] == pytest.approx(1.9999)
    spent = sum(t["cost"] * (1 if t["side"] == "buy" else -1) for t in trades)
    paid = sum(t["fee"]["cost"] for t in trades if t["fee"]["currency"] == "USDT")
    assert balance["USDT"]["total"] == pytest.approx(100_000 - spent - paid)
    assert {o["id"] for o in await okx.fetch_closed_orders("BTC/USDT")} == {buy["id"], sell["id"]}
    fee = await okx.fetch_trading_fee("BTC/USDT")
    assert (fee["maker"], fee["taker"]) == (0.0008, 0.001)


async def test_orders_and_balances_are_watched(okx):
    """A fill arrives on the orders channel, what it costs on the account channel."""
    await okx.load_markets()
    before = await okx.watch_balance()
    assert before["BTC"]["total"] == 2
    watching = asyncio.create_task(okx.watch_orders("BTC/USDT"))
    balance = asyncio.create_task(okx.watch_balance())
    await asyncio.wait({watching, balance}, timeout=0.5)  # both are subscribed, and nothing happens
    created = await okx.create_order("BTC/USDT", "market", "sell", 0.5)
    async with asyncio.timeout(20):
        seen = await watching
        while seen[-1]["status"] != "closed":
            seen = await okx.watch_orders("BTC/USDT")
        assert (seen[-1]["id"], seen[-1]["filled"]) == (created["id"], 0.5)
        after = await balance
        while after["BTC"]["total"] != 1.5:
            after = await okx.watch_balance()
    assert after["USDT"]["total"] > before["USDT"]["total"]


async def test_orders_are_placed_and_cancelled_over_the_websocket(okx):
    """createOrderWs and cancelOrderWs name the pair by instIdCode."""
    created = await okx.create_order_ws("ETH/USDT", "limit", "buy", 0.5, 100)
    assert (await okx.fetch_order(created["id"], "ETH/USDT"))["status"] == "open"
    await okx.cancel_order_ws(created["id"], "ETH/USDT")
    assert await okx.fetch_open_orders("ETH/USDT") == []


async def test_stop_orders_are_algo_orders(okx):
    """A stop is pending apart from the orders, and can be cancelled."""
    last = (await okx.fetch_ticker("BTC/USDT"))["last"]
    stop = okx.price_to_precision("BTC/USDT", last * 0.9)
    created = await okx.create_order("BTC/USDT", "market", "sell", 0.1, None, {"stopLossPrice": stop})
    (waiting,) = await okx.fetch_open_orders(
        "BTC/USDT", None, None, {"trigger": True, "ordType": "conditional"}
    )
    assert waiting["id"] == created["id"] and waiting["stopLossPrice"] == float(stop)
    await okx.cancel_order(created["id"], "BTC/USDT", {"trigger": True})
    assert (
        await okx.fetch_open_orders("BTC/USDT", None, None, {"trigger": True, "ordType": "conditional"}) == []
    )


async def test_refusals_become_ccxts_own_errors(okx):
    """Too little money, too small a size, a repeated client id, an order that is gone, a wrong secret."""
    with pytest.raises(ccxt.InsufficientFunds):
        await okx.create_order("BTC/USDT", "limit", "buy", 5, 50_000)
    with pytest.raises(ccxt.InvalidOrder, match="51020"):
        await okx.create_order("ETH/USDT", "limit", "buy", 0.00001, 100)
    mine = {"clientOrderId": "order1"}
    await okx.create_order("ETH/USDT", "limit", "buy", 0.1, 100, mine)
    with pytest.raises(ccxt.InvalidOrder, match="51016"):
        await okx.create_order("ETH/USDT", "limit", "buy", 0.1, 100, mine)
    with pytest.raises(ccxt.OrderNotFound):
        await okx.fetch_order("17", "ETH/USDT")
    okx.secret = "another"
    with pytest.raises(ccxt.AuthenticationError, match="50113"):
        await okx.fetch_balance()


async def test_the_synchronous_ccxt_trades_as_well(running):
    """`ccxt.okx` creates an order and reads its balance."""
    exchange = ccxt.okx(KEY)
    exchange.urls["api"]["rest"] = running.rest_url
    created = await asyncio.to_thread(exchange.create_order, "BTC/USDT", "market", "sell", 0.1)
    order = await asyncio.to_thread(exchange.fetch_order, created["id"], "BTC/USDT")
    assert order["status"] == "closed"
    assert (await asyncio.to_thread(exchange.fetch_balance))["BTC"]["total"] == 1.9
    exchange.session.close()
