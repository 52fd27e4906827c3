"""The live part of a seeded platform: prices that move, books, heartbeats. Run as a module, for ever:

python -m tests.dashboard_market DATABASE_URL REDIS_URL
"""

import asyncio
import math
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from core.candles import Candle
from core.timeframes import Timeframe
from pipelines.bus.base import Bus
from pipelines.bus.books import document, publish_book
from pipelines.bus.redis import RedisBus
from pipelines.warehouse import tables
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.health import beat
from tests.dashboard_seed import DAEMON, MARKETS, MINUTE_MS, seed


def market_message(
    symbol: str, timeframe: str, close_ms: int, prices: tuple[float, ...], final: bool
) -> dict[str, Any]:
    """A `market:{symbol}` message: prices are open, high, low, close, volume."""
    names = ("open", "high", "low", "close", "volume")
    return {
        "symbol": symbol,
        "timeframe": timeframe,
        "timestamp": datetime.fromtimestamp(close_ms / 1000, UTC).isoformat().replace("+00:00", "Z"),
        **{name: Decimal(str(round(value, 4))) for name, value in zip(names, prices, strict=True)},
        "trades_count": 12,
        "final": final,
        "revision": 0,
        "source": "trades",
        "provisional": False,
        "published_ms": time.time_ns() // 1_000_000,
    }


@contextmanager
def market_running(engine: Engine, redis_url: str) -> Iterator[None]:
    """The market trades, in a thread, until the block ends."""
    loop = asyncio.new_event_loop()
    bus = RedisBus(redis_url)
    task = loop.create_task(play(engine, bus))

    def follow() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.run_until_complete(bus.close())
        loop.close()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(timeout=10)


async def play(engine: Engine, bus: Bus, speed: float = 1.0) -> None:
    """Publish running candles and books of every market four times a second, and beat, until cancelled."""
    chance = random.Random(1)
    now_ms = started = time.time_ns() // 1_000_000
    last = {symbol: _last_close(engine, symbol) for symbol in MARKETS}
    running: dict[str, tuple[int, list[float]]] = {}
    turn = 0
    while True:
        wall_ms = time.time_ns() // 1_000_000
        now_ms = started + round((wall_ms - started) * speed)
        for symbol in MARKETS:
            close_ms = now_ms - now_ms % MINUTE_MS + MINUTE_MS
            price = last[symbol] * (1 + chance.gauss(0, 0.0001 * math.sqrt(speed)))
            last[symbol] = price
            known, bar = running.get(symbol, (0, []))
            if known != close_ms:
                if known:
                    await asyncio.to_thread(_store, engine, symbol, known, bar)
                    await bus.publish(
                        f"market:{symbol}", market_message(symbol, "1m", known, tuple(bar), True)
                    )
                bar = [price, price, price, price, 0.0]
            bar = [
                bar[0],
                max(bar[1], price),
                min(bar[2], price),
                price,
                bar[4] + abs(chance.gauss(0.02, 0.02)),
            ]
            running[symbol] = (close_ms, bar)
            await bus.publish(f"market:{symbol}", market_message(symbol, "1m", close_ms, tuple(bar), False))
            await publish_book(bus, _book(symbol, price, turn, chance))
        turn += 1
        if turn % 8 == 0:
            await asyncio.to_thread(_beat, engine, wall_ms, now_ms, speed)
        await asyncio.sleep(0.25)


def _book(symbol: str, price: float, turn: int, chance: random.Random) -> dict[str, Any]:
    """Five levels on either side of a price."""
    tick = Decimal(MARKETS[symbol][1])
    middle = (Decimal(str(price)) / tick).quantize(Decimal(1)) * tick
    bids, asks = (
        [
            (middle + side * tick * (level + 1), Decimal(str(round(chance.uniform(0.05, 3), 4))))
            for level in range(5)
        ]
        for side in (-1, 1)
    )
    return document(symbol, datetime.now(UTC).isoformat(), bids, asks, turn)


def _last_close(engine: Engine, symbol: str) -> float:
    columns = tables.market_data.c
    query = (
        sa.select(columns.close).where(columns.symbol == symbol).order_by(columns.timestamp.desc()).limit(1)
    )
    with engine.connect() as connection:
        return float(connection.execute(query).scalar_one())


def _store(engine: Engine, symbol: str, close_ms: int, bar: list[float]) -> None:
    prices = [Decimal(str(round(value, 4))) for value in bar]
    with engine.begin() as connection:
        upsert_candles(connection, [Candle(symbol, Timeframe.M1, close_ms, *prices)])


def _beat(engine: Engine, wall_ms: int, exchange_ms: int, rate: float) -> None:
    beat(engine, "live", wall_ms, exchange_ms, DAEMON | {"clock_rate": rate})
    states = {"active": "running", "paused": "paused", "stopped": "stopped"}
    now = datetime.fromtimestamp(wall_ms / 1000, UTC)
    with engine.begin() as connection:
        for status, state in states.items():
            connection.execute(
                sa.update(tables.bots)
                .where(tables.bots.c.status == status)
                .values(state=state, **({"last_heartbeat": now} if status != "stopped" else {}))
            )


async def _main(database_url: str, redis_url: str, speed: float) -> None:
    from pipelines.warehouse.database import engine, migrate

    migrate(database_url)
    database = engine(database_url)
    with database.connect() as connection:
        empty = connection.execute(sa.select(sa.func.count()).select_from(tables.bots)).scalar_one() == 0
    if empty:
        seed(database, time.time_ns() // 1_000_000)
    await play(database, RedisBus(redis_url), speed)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 1.0))
