"""A market made for bots: candles of a seeded walk, in Postgres and on the bus as the collector does it."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import structs
from sqlalchemy import Engine, text

from config.files import BotFile
from config.settings import PROJECT_ROOT
from core.candles import Candle
from core.instruments import Instrument
from core.timeframes import Timeframe
from live.messages import candle_message
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.bots import save_bot
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import beat
from pipelines.warehouse.instruments import upsert_instruments

SYMBOL = "BTC-USDT"
START_MS = 1_760_000_040_000 - 1_760_000_040_000 % 60_000
BTC = Instrument("BTC-USDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.00000001"), Decimal("0.00001"))


def walk(count: int, seed: int = 1, start_ms: int = START_MS, empty: float = 0.0) -> list[Candle]:
    """Minutes of a random walk; the share `empty` of them has no trades and is flat."""
    rng = random.Random(seed)
    price, candles = Decimal("60000"), []
    for n in range(count):
        close_ms = start_ms + (n + 1) * 60_000
        if rng.random() < empty:
            flat = (price, price, price, price, Decimal(0), 0, "synthetic")
            candles.append(Candle(SYMBOL, Timeframe.M1, close_ms, *flat))
            continue
        opened = price + Decimal(rng.randint(-50, 50)) / 10
        price = opened + Decimal(rng.randint(-1500, 1500)) / 10
        high = max(opened, price) + Decimal(rng.randint(0, 200)) / 10
        low = min(opened, price) - Decimal(rng.randint(0, 200)) / 10
        volume = Decimal(rng.randint(1, 10_000)) / 1000
        candles.append(
            Candle(SYMBOL, Timeframe.M1, close_ms, opened, high, low, price, volume, rng.randint(1, 99))
        )
    return candles


def add_bot(engine: Engine, name: str, **changes: Any) -> None:
    """A bot of quick moving averages; `changes` go over its document."""
    document = {
        "bot_id": name,
        "strategy": "ema_crossover",
        "parameters": {"fast_period": 3, "slow_period": 8},
        "symbol": SYMBOL,
        "timeframe": "1m",
        "virtual_balance": 10000,
    } | changes
    upsert_instruments(engine, [BTC])
    save_bot(engine, BotFile.model_validate(document), None)


def store(engine: Engine, candles: Iterable[Candle]) -> None:
    """Put candles into market_data."""
    with engine.begin() as connection:
        upsert_candles(connection, list(candles))


@contextmanager
def market(database_url: str) -> Iterator[Engine]:
    """The database with 150 minutes of a market and a daemon that just wrote the last of them."""
    connections = engine(database_url)
    candles = walk(150)
    store(connections, candles)
    beat(connections, "live", 0, candles[-1].close_ms + 1, {})
    yield connections
    connections.dispose()


def message(candle: Candle, final: bool = True) -> dict[str, Any]:
    """A message of market:{symbol}, final or as of the candle's first trade."""
    if not final:
        first = dict.fromkeys(("high", "low", "close"), candle.open)
        candle = structs.replace(candle, final=False, **first)
    return candle_message(candle, time.time_ns() // 1_000_000)


async def publish(bus: RedisBus, candle: Candle, following: Candle | None = None) -> None:
    """A final candle, then the beginning of the one after it."""
    await bus.publish(f"market:{candle.symbol}", message(candle))
    if following is not None and following.volume > 0:
        await bus.publish(f"market:{candle.symbol}", message(following, final=False))


def start_runner(name: str, database_url: str, redis_url: str, log: Path) -> subprocess.Popen[bytes]:
    """The bot's process, as the supervisor starts it, but tied to nothing."""
    environment = os.environ | {
        "TCP_DATABASE_URL": database_url,
        "TCP_REDIS_URL": redis_url,
        "POLARS_MAX_THREADS": "1",
    }
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "live.bots.runner", name],
            cwd=PROJECT_ROOT,
            env=environment,
            stdout=out,
            stderr=out,
        )


async def until(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Wait for a condition; AssertionError names it when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not true after {seconds} s: {what}"
        await asyncio.sleep(0.02)


def scalar(engine: Engine, statement: str, **values: Any) -> Any:
    """The first column of the first row."""
    with engine.connect() as connection:
        return connection.execute(text(statement), values).scalar()


def cut_connections(engine: Engine) -> None:
    """End every other session of the database, as a restart of the server does."""
    scalar(
        engine,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


def last_candle_ms(engine: Engine, name: str) -> int | None:
    """Close of the last candle that the bot has judged."""
    return scalar(
        engine,
        "SELECT (extract(epoch FROM last_candle) * 1000)::bigint FROM positions JOIN bots ON id = bot_id"
        " WHERE name = :name",
        name=name,
    )


HISTORY = {
    "signals": "s.timestamp, signal_type, price, confidence, indicators",
    "orders": "s.timestamp, side, order_type, price, quantity, filled_quantity, s.status, reason",
    "trades": "s.timestamp, side, price, quantity, fees, pnl, balance_after",
    "bot_performance": "s.timestamp, total_value, cash_balance, crypto_balance, total_trades, total_fees",
}


def history(engine: Engine, name: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that a bot has on record, without its name, for comparing bots."""
    found = {}
    with engine.connect() as connection:
        for table, columns in HISTORY.items():
            statement = text(
                f"SELECT {columns} FROM {table} s JOIN bots b ON b.id = s.bot_id WHERE b.name = :name"
                f" ORDER BY {', '.join(str(n + 1) for n in range(columns.count(',') + 1))}"
            )
            found[table] = [tuple(row) for row in connection.execute(statement, {"name": name})]
        statement = text(
            "SELECT cash, quantity, cost, realised_pnl, fees, p.total_trades, winning_trades, last_candle"
            " FROM positions p JOIN bots b ON b.id = p.bot_id WHERE b.name = :name"
        )
        found["position"] = [tuple(connection.execute(statement, {"name": name}).one())]
    return found
