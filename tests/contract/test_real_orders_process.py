"""The process that sends real orders: its keys go nowhere, and it says why it does not run."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from config.settings import PROJECT_ROOT, Settings
from live.brokers.supervise import keep_sending
from pipelines.exchanges.sim.options import SimOptions
from pipelines.exchanges.sim.server import RunningSim, serve
from pipelines.exchanges.sim.trading.keys import ApiKey
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.real_orders import real_orders
from tests.bot_bench import until
from tests.broker_rig import Traders

pytestmark = pytest.mark.servers
SECRETS = ("ak-5f7d2c9b11", "very-secret-a81e44", 'pass "phrase" 77')
PRICES = dict.fromkeys(("BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT"), Decimal(1000))


@pytest.fixture
async def exchange() -> AsyncIterator[RunningSim]:
    """An exchange that knows one key, and answers one order in five with an error or not at all."""
    faults = {"order_reject": 0.1, "order_lost_answer": 0.1, "order_timeout_s": 0.1, "http_500": 0.05}
    keys = (ApiKey(*SECRETS),)
    running = await serve(
        SimOptions(start_ms=1_790_000_000_000, api_keys=keys, faults=faults, connection_limits=False)
    )
    yield running
    await running.close()


@pytest.fixture
def engine(database_url: str) -> Engine:
    """The test's database."""
    return engine_of(database_url)


def environment(home: Path, exchange: RunningSim, database_url: str, redis_url: str) -> dict[str, str]:
    """As `tcp live` hands it on; with everything logged that can be."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith("TCP_")}
    return outer | {
        "TCP_HOME": str(home),
        "TCP_DATABASE_URL": database_url,
        "TCP_REDIS_URL": redis_url,
        "TCP_REAL_ORDERS": "demo",
        "TCP_OKX_REST_URL": exchange.rest_url,
        "TCP_OKX_WS_URL": exchange.ws_url,
        "TCP_LOG_LEVEL": "DEBUG",
    }


def start(log: Path, variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    """The process as the daemon starts it."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "live.brokers.process"],
            cwd=PROJECT_ROOT,
            env=variables,
            stdout=output,
            stderr=output,
        )


async def ended(process: "subprocess.Popen[bytes]") -> int:
    """Its exit code."""
    return await asyncio.to_thread(process.wait, 200)


def everything_stored(engine: Engine) -> str:
    """Every row of every table as text."""
    with engine.connect() as connection:
        tables = connection.execute(
            text("SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'")
        ).scalars()
        rows = (connection.execute(text(f"SELECT t::text FROM {name} t")).scalars() for name in tables.all())
        return "\n".join(row for found in rows for row in found)


@pytest.mark.timeout(600)
async def test_keys_are_nowhere_in_what_was_written(tmp_path, exchange, engine, database_url, redis_url):
    """Orders that succeed, fail and get lost, a start with wrong keys, and a look at everything: the logs at
    level DEBUG, the database, the home folder, the process's title."""
    home, log = tmp_path / "home", tmp_path / "sender.log"
    keys = home / "secrets" / "okx-demo.json"
    keys.parent.mkdir(parents=True)
    keys.write_text(json.dumps(dict(zip(("api_key", "secret", "passphrase"), SECRETS, strict=True))))
    keys.chmod(0o600)
    traders = Traders(engine, 1, PRICES)
    traders.add(8)
    process = start(log, environment(home, exchange, database_url, redis_url))
    async with asyncio.timeout(400):
        while traders.stored < 40 or await asyncio.to_thread(traders.live):
            await asyncio.to_thread(traders.decide, 40 - traders.stored)
            await asyncio.to_thread(traders.withdraw_resting)
            await asyncio.sleep(0.02)
            assert process.poll() is None, log.read_text()
    title = Path(f"/proc/{process.pid}/cmdline").read_text()
    state = await asyncio.to_thread(real_orders, engine, _settings(home, database_url), "okx-demo")
    process.terminate()
    assert await ended(process) == 0
    keys.write_text(keys.read_text().replace(SECRETS[1], "another"))
    assert await ended(start(log, environment(home, exchange, database_url, redis_url))) == 2
    keys.unlink()
    written = [log.read_text(), title, everything_stored(engine), repr(state)]
    written += [path.read_text() for path in home.rglob("*") if path.is_file()]
    for part in (*SECRETS, json.dumps(SECRETS[2])[1:-1]):
        assert not any(part in document for document in written), part
    assert state.on and "50113" in written[0] and '"unclear"' in written[0]
    found = await asyncio.to_thread(real_orders, engine, _settings(home, database_url), "okx-demo")
    assert not found.on and "Invalid Sign" in (found.why_off or "")


async def test_a_process_without_keys_says_so_and_ends(tmp_path, exchange, engine, database_url, redis_url):
    """Exit code 2, one line, and the same line for whoever asks why nothing is sent."""
    log = tmp_path / "sender.log"
    process = start(log, environment(tmp_path / "home", exchange, database_url, redis_url))
    assert await ended(process) == 2
    (line,) = log.read_text().strip().splitlines()
    assert line.startswith("keys: set TCP_OKX_API_KEY")
    state = real_orders(engine, _settings(tmp_path / "home", database_url), "okx-demo")
    assert not state.on and state.why_off == line


async def test_real_money_is_not_traded_on_simulated_candles(
    tmp_path, exchange, engine, database_url, redis_url
):
    """TCP_REAL_ORDERS=live with TCP_EXCHANGE=sim ends at once."""
    log = tmp_path / "sender.log"
    variables = environment(tmp_path / "home", exchange, database_url, redis_url)
    assert await ended(start(log, variables | {"TCP_REAL_ORDERS": "live"})) == 2
    assert "candles come from sim: real orders need TCP_EXCHANGE=okx" in log.read_text()


async def test_a_daemon_tells_once_that_nobody_sends_its_orders(
    tmp_path, exchange, engine, database_url, redis_url
):
    """Without keys the process ends at once, and again: one event of level error says what to do."""
    told: list[tuple[str, ...]] = []
    settings = _settings(tmp_path / "home", database_url).model_copy(
        update={
            "redis_url": redis_url,
            "okx_rest_url": exchange.rest_url,
            "okx_ws_url": exchange.ws_url,
        }
    )
    keeping = asyncio.create_task(keep_sending(settings, lambda *event: told.append(event)))
    log = tmp_path / "home" / "logs" / "orders.log"
    try:
        await until(lambda: log.exists() and log.read_text().count("keys: set") >= 2, "it ended twice", 120)
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    why = "settings or keys are wrong, see `tcp doctor`"
    assert told == [("error", "orders_not_sent", f"nobody sends real orders: {why}; it is started again")]


def _settings(home: Path, database_url: str) -> Settings:
    return Settings(home=home, database_url=database_url, real_orders="demo")
