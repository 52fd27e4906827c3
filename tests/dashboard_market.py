"""The live part of a seeded platform: prices that move, books, heartbeats. Run as a module, for ever:

python -m tests.dashboard_market DATABASE_URL REDIS_URL
"""

import asyncio
import math
import random
import sys
import threading
import time
from collections.abc import Iterator, Sequence
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
from pipelines.warehouse.sql import EXCHANGE, to_datetime, to_ms
from pipelines.warehouse.trade_days import ensure_partitions
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


CONNECTION: dict[str, Any] = {
    "url": "wss://exchange",
    "state": "live",
    "latency_p50_ms": 38.0,
    "latency_p99_ms": 94.0,
    "lost_ids": 0,
    "trades": 184_203,
    "repeated": 92_101,
    "reconnects": 0,
    "silences": 0,
    "unknown_frames": 0,
}
WHOLE = {"connections": [{"connection": f"trades {n}", **CONNECTION} for n in (1, 2)]}
"""What a daemon says besides, whose connections to the exchange are measured."""


@contextmanager
def market_running(
    engine: Engine, redis_url: str, frames: Sequence[Timeframe] = (Timeframe.M1,), is_whole: bool = False
) -> Iterator[None]:
    """The market trades, in a thread, until the block ends. is_whole: its trades are stored, and the daemon
    says how its connections are."""
    loop = asyncio.new_event_loop()
    bus = RedisBus(redis_url)
    task = loop.create_task(play(engine, bus, frames=frames, is_whole=is_whole))

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


async def play(
    engine: Engine,
    bus: Bus,
    speed: float = 1.0,
    frames: Sequence[Timeframe] = (Timeframe.M1,),
    is_whole: bool = False,
) -> None:
    """Publish running candles and books of every market four times a second, and beat, until cancelled."""
    chance = random.Random(1)
    now_ms = started = time.time_ns() // 1_000_000
    last = {symbol: _caught_up(engine, symbol, started, chance) for symbol in MARKETS}
    running: Running = {}
    turn = 0
    while True:
        wall_ms = time.time_ns() // 1_000_000
        now_ms = started + round((wall_ms - started) * speed)
        for symbol in MARKETS:
            price = last[symbol] * (1 + chance.gauss(0, 0.00003 * math.sqrt(speed)))
            last[symbol] = price
            volume = abs(chance.gauss(0.02, 0.02))
            for frame in frames:
                await _candle(engine, bus, running, (symbol, frame), (now_ms, price, volume))
            await publish_book(bus, _book(symbol, price, turn, chance))
        turn += 1
        if turn % 8 == 0:
            await asyncio.to_thread(_beat, engine, wall_ms, now_ms, speed, WHOLE if is_whole else {})
        if is_whole and turn % 4 == 1:
            await asyncio.to_thread(_store_trades, engine, now_ms, last, chance)
        await asyncio.sleep(0.25)


Running = dict[tuple[str, Timeframe], tuple[int, list[float]]]
"""Close time and open, high, low, close, volume of the running candle of each symbol and timeframe."""


async def _candle(
    engine: Engine, bus: Bus, running: Running, key: tuple[str, Timeframe], tick: tuple[int, float, float]
) -> None:
    """Publish what a trade, (time, price, volume), makes of a running candle, and the one before when it is
    over, which is stored."""
    (symbol, frame), (now_ms, price, volume) = key, tick
    close_ms = frame.close_ms(now_ms)
    known, bar = running.get(key, (0, []))
    if known == 0:
        bar = await asyncio.to_thread(_begun, engine, symbol, close_ms - frame.ms, price)
    elif known != close_ms:
        await asyncio.to_thread(_store, engine, symbol, frame, known, bar)
        await bus.publish(
            f"market:{symbol}", market_message(symbol, frame.value, known, tuple(bar), final=True)
        )
        bar = [price, price, price, price, 0.0]
    bar = [bar[0], max(bar[1], price), min(bar[2], price), price, bar[4] + volume]
    running[key] = (close_ms, bar)
    await bus.publish(
        f"market:{symbol}", market_message(symbol, frame.value, close_ms, tuple(bar), final=False)
    )


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


def _caught_up(engine: Engine, symbol: str, now_ms: int, chance: random.Random) -> float:
    """The last price, after the minutes since the seed's end."""
    columns = tables.market_data.c
    query = sa.select(columns.timestamp, columns.close).where(
        columns.symbol == symbol, columns.timeframe == "1m"
    )
    with engine.begin() as connection:
        found = connection.execute(query.order_by(columns.timestamp.desc()).limit(1)).one()
        price = float(found.close)
        missing = range(to_ms(found.timestamp) + MINUTE_MS, now_ms + 1, MINUTE_MS)
        for close_ms in missing:
            first, price = price, price * (1 + chance.gauss(0, 0.0005))
            ends = (first, max(first, price), min(first, price), price)
            bar = [Decimal(str(round(value, 2))) for value in (*ends, abs(chance.gauss(1, 0.6)))]
            upsert_candles(connection, [Candle(symbol, Timeframe.M1, close_ms, *bar)])
    return price


def _begun(engine: Engine, symbol: str, open_ms: int, price: float) -> list[float]:
    """The candle that opened then, as far as stored minutes tell."""
    columns = tables.market_data.c
    query = (
        sa.select(columns.open, columns.high, columns.low, columns.volume)
        .where(columns.symbol == symbol, columns.timeframe == "1m", columns.timestamp > to_datetime(open_ms))
        .order_by(columns.timestamp)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    if not rows:
        return [price, price, price, price, 0.0]
    highest, lowest = max(row.high for row in rows), min(row.low for row in rows)
    return [*map(float, (rows[0].open, highest, lowest)), price, float(sum(row.volume for row in rows))]


def _store(engine: Engine, symbol: str, frame: Timeframe, close_ms: int, bar: list[float]) -> None:
    prices = [Decimal(str(round(value, 4))) for value in bar]
    with engine.begin() as connection:
        upsert_candles(connection, [Candle(symbol, frame, close_ms, *prices)])


def _store_trades(engine: Engine, now_ms: int, last: dict[str, float], chance: random.Random) -> None:
    """A trade of every market, at the price it has."""
    raw = tables.raw_trades
    with engine.begin() as connection:
        ensure_partitions(connection, now_ms, now_ms)
        for symbol, price in last.items():
            newest = sa.select(sa.func.max(raw.c.trade_id)).where(raw.c.symbol == symbol)
            row = {
                "exchange": EXCHANGE,
                "symbol": symbol,
                "trade_id": (connection.execute(newest).scalar() or 0) + 1,
                "timestamp": to_datetime(now_ms),
                "price": round(price, 2),
                "size": round(abs(chance.gauss(0.02, 0.05)) + 0.0001, 4),
                "side": chance.choice(("buy", "sell")),
                "count": 1,
                "source": "websocket",
            }
            connection.execute(sa.insert(raw), row)


def _beat(engine: Engine, wall_ms: int, exchange_ms: int, rate: float, more: dict[str, Any]) -> None:
    beat(engine, "live", wall_ms, exchange_ms, DAEMON | {"clock_rate": rate} | more)
    beat(engine, "collector", wall_ms, exchange_ms, {"state": "live"})
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
