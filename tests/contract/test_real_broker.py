"""The real broker against an exchange that loses, delays and refuses, with kills at any line."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import text

from core.exchange_orders import CLIENT_ID_PREFIX
from pipelines.exchanges.ccxt.okx_trading import OkxTrading
from pipelines.exchanges.okx.keys import Keys
from pipelines.exchanges.sim.trading.keeping import read_lines
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.exchange_orders import withdraw
from tests.broker_rig import KEYS, Exchange, Sender, Traders, until

pytestmark = pytest.mark.servers

ORDERS, BOTS, KILLS = 1_000, 40, 4
TRADING_S = 500
"""Half a minute where nothing else runs; a loaded machine is slow, not wrong."""
BALANCES = {"USDT": "100000", "BTC": "1"}
# One operation in ten goes wrong.
FAULTS = {
    "seed": 7,
    "order_lost_request": 0.02,
    "order_lost_answer": 0.02,
    "order_reject": 0.015,
    "order_429": 0.015,
    "order_late": {"share": 0.01, "by_s": 0.6},
    "order_partial": 0.02,
    "order_timeout_s": 0.3,
    "late_push": {"share": 0.1, "by_s": 0.5},
    "gap": 0.05,
    "duplicate": 0.05,
    "http_500": 0.01,
    "http_429": 0.01,
    "disconnect": {"every_s": 15},
}


@pytest.fixture
def exchange(tmp_path: Path, unused_port: int) -> Iterator[Exchange]:
    """A running simulated exchange that goes wrong."""
    exchange = Exchange(tmp_path, unused_port, FAULTS, BALANCES)
    exchange.start()
    yield exchange
    exchange.kill()


@pytest.fixture
def sender(tmp_path: Path, exchange: Exchange, database_url: str, redis_url: str) -> Iterator[Sender]:
    """The process that sends orders to it."""
    variables = {
        "TCP_DATABASE_URL": database_url,
        "TCP_REDIS_URL": redis_url,
        "TCP_REAL_ORDERS": "demo",
        "TCP_OKX_REST_URL": exchange.rest_url,
        "TCP_OKX_WS_URL": exchange.ws_url,
    }
    sender = Sender(tmp_path, variables)
    yield sender
    sender.close()


@pytest.fixture
def traders(database_url: str, exchange: Exchange) -> Traders:
    """Bots with a real broker, a quarter of them with stops and take-profits."""
    traders = Traders(engine_of(database_url), 11, exchange.prices())
    traders.add(BOTS * 3 // 4)
    traders.add(BOTS // 4, risk={"stop_loss": 0.2, "take_profit": 0.2})
    return traders


@pytest.mark.timeout(900)
def test_a_thousand_orders_with_faults_and_kills_are_sent_once_each(
    exchange: Exchange, sender: Sender, traders: Traders, redis_url: str
):
    """No order is doubled or orphaned, and the exchange's balances are ours to the last digit."""
    _trade(exchange, sender, traders, redis_url)
    _wind_up(exchange, sender, traders)
    there = _at_exchange(exchange)
    _each_order_is_there_at_most_once(there, traders)
    _states_and_matches_agree(there, traders)
    _balances_agree(exchange, traders)


def _trade(exchange: Exchange, sender: Sender, traders: Traders, redis_url: str) -> None:
    """Decide, and kill the sender several times and the exchange once, at seeded points."""
    rng = random.Random(3)
    kills = sorted(rng.sample(range(50, ORDERS - 50), KILLS))
    exchange_dies_at = rng.randrange(200, ORDERS - 200)
    sender.start()
    deadline = time.monotonic() + TRADING_S
    with redis.Redis.from_url(redis_url) as bus:
        while traders.stored < ORDERS:
            assert time.monotonic() < deadline, (
                f"only {traders.stored} orders: {sender.log.read_text()[-3000:]}"
            )
            if traders.decide(ORDERS - traders.stored):
                bus.publish("control:orders", "{}")
            if kills and traders.stored >= kills[0]:
                kills.pop(0)
                sender.kill()
                sender.start()
            if exchange_dies_at and traders.stored >= exchange_dies_at:
                exchange_dies_at = 0
                exchange.kill()
                exchange.start()
            assert sender.lives(), sender.log.read_text()[-3000:]
            traders.withdraw_resting()
            time.sleep(0.05)


def _wind_up(exchange: Exchange, sender: Sender, traders: Traders) -> None:
    """Let all be carried out, then turn the kill switch on, which withdraws stops too."""
    entries = "kind IN ('market', 'limit') AND state IN ('submitting', 'sending', 'working')"

    def entries_are_over() -> bool:
        traders.withdraw_resting()
        return not traders.scalar(f"SELECT count(*) FROM exchange_orders WHERE {entries}")

    until(entries_are_over, 120, "entries are over")
    with traders.engine.begin() as connection:
        connection.execute(
            text("""INSERT INTO controls (name, value) VALUES ('kill_switch', '{"on": true}')""")
        )
        withdraw(connection, None, "the kill switch was turned on", protective=True)
    until(lambda: traders.live() == 0, 120, "every order is over")


def _at_exchange(exchange: Exchange) -> dict[str, Any]:
    """Everything that the exchange has on record: orders and fills by id, algo orders."""
    orders: dict[str, Any] = {}
    algos: dict[str, Any] = {}
    fills: dict[str, Any] = {}
    for line in read_lines(exchange.accounts):
        for account in line["traders"].values():
            orders |= {row["ord_id"]: row for row in account["orders"]}
            algos |= {row["algo_id"]: row for row in account["algos"]}
            fills |= {row["trade_id"]: row for row in account["fills"]}
    return {"orders": orders, "algos": algos, "fills": fills}


def _each_order_is_there_at_most_once(there: dict[str, Any], traders: Traders) -> None:
    sent = [row["ticket"]["cl_ord_id"] for row in there["orders"].values() if not row["ticket"]["algo_id"]]
    sent += [row["algo_cl_ord_id"] for row in there["algos"].values()]
    doubled = [ident for ident, count in Counter(sent).items() if count > 1]
    assert doubled == []
    with traders.engine.connect() as connection:
        known = dict(connection.execute(text("SELECT client_id, state FROM exchange_orders")).all())
    assert set(sent) <= set(known), "an orphan"
    assert all(ident.startswith(CLIENT_ID_PREFIX) for ident in sent)
    done = {ident for ident, state in known.items() if state == "filled"}
    assert done <= set(sent)
    assert traders.scalar("SELECT count(*) FROM exchange_orders WHERE kind IN ('market', 'limit')") >= ORDERS
    assert len(done) > ORDERS // 2


def _states_and_matches_agree(there: dict[str, Any], traders: Traders) -> None:
    """What each order came to, and every match, on both sides."""
    assert not [row for row in there["orders"].values() if row["state"] in ("live", "partially_filled")]
    assert not [row for row in there["algos"].values() if row["state"] == "live"]
    with traders.engine.connect() as connection:
        stored = set(connection.execute(text("SELECT trade_id FROM exchange_fills")).scalars())
        shown = connection.execute(text("SELECT count(*) FROM trades")).scalar_one()
        odd = connection.execute(
            text("""
                SELECT e.client_id, e.state, e.filled_quantity, e.quantity, o.status FROM exchange_orders e
                JOIN orders o ON o.id = e.order_id
                WHERE o.filled_quantity <> e.filled_quantity OR o.status <> e.state
                   OR e.filled_quantity <> (SELECT coalesce(sum(quantity), 0) FROM exchange_fills f
                                            WHERE f.order_id = e.order_id)
                   OR (e.state = 'filled') <> (e.filled_quantity = e.quantity)
            """)
        ).all()
    assert stored == set(there["fills"]) and shown == len(stored)
    assert odd == []


def _balances_agree(exchange: Exchange, traders: Traders) -> None:
    """Bots' accounts hold what the exchange's account gained, exactly; no cash was made by roundings."""
    exchange.kill()
    exchange.faults = {}
    exchange.start()

    async def balances() -> dict[str, Decimal | None]:
        account = OkxTrading(Keys(*KEYS.values()), True, {"rest": exchange.rest_url, "ws": exchange.ws_url})
        try:
            return dict(await account.balances())
        finally:
            await account.close()

    held = asyncio.run(balances())
    with traders.engine.connect() as connection:
        rows = connection.execute(
            text("""
                SELECT split_part(p.symbol, '-', 1), sum(p.quantity), sum(p.cash - b.virtual_balance)
                FROM positions p JOIN bots b ON b.id = p.bot_id GROUP BY p.symbol
            """)
        ).all()
    gained = {base: quantity for base, quantity, _ in rows}
    gained["USDT"] = sum((cash for _, _, cash in rows), Decimal(0))
    for currency, amount in gained.items():
        assert held.get(currency, Decimal(0)) == Decimal(BALANCES.get(currency, "0")) + amount, currency
