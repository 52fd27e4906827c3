"""A writer at work on a numbered run of trades, and what of them is stored."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.backlog import Bounds
from live.collector.spool import Spool
from live.collector.writer import Writer
from pipelines.warehouse.database import engine as engine_of

NOON = 1_763_726_400_000
BOUNDS = Bounds(capacity_trades=5_000, spill_trades=1_000, spill_s=300)


def trade(n: int) -> Trade:
    return Trade("BTC-USDT", n, NOON + n, Decimal(n), Decimal("0.1"), Side.BUY)


def candle(n: int) -> Candle:
    """Of the trades through number n; each candle is put after them."""
    price = Decimal(n)
    return Candle("BTC-USDT", Timeframe.M1, NOON + n * 60_000, price, price, price, price, Decimal(1), n)


class Told:
    """Events and committed candles of a writer."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.committed: list[int] = []

    def tell(self, level: str, event: str, message: str) -> None:
        self.events.append((event, message))

    def commit(self, candles: list[Candle]) -> None:
        self.committed += [c.trades_count for c in candles]

    def names(self) -> list[str]:
        return [event for event, _ in self.events]


@asynccontextmanager
async def writing(
    url: str, spool: Spool | None, told: Told, bounds: Bounds = BOUNDS, **more: Any
) -> AsyncIterator[Writer]:
    writer = Writer(engine_of(url), told.commit, told.tell, spool, bounds, **more)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        writer.stop()
        try:
            async with asyncio.timeout(2):
                await task
        except TimeoutError:
            assert await writer.save()
        await writer.close()
        engine_of(url).dispose()


def put(writer: Writer, first: int, count: int, step: int = 100) -> None:
    """Trades in hundreds, each hundred with a candle after it."""
    for begin in range(first, first + count, step):
        writer.put(trades=[trade(n) for n in range(begin, begin + step)])
        writer.put(candles=[candle(begin + step - 1)])


def stored(database_url: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Trade ids, and (trades_count, revision) of candles, in the order of their keys."""
    with engine_of(database_url).connect() as connection:
        ids = connection.execute(text("SELECT trade_id FROM raw_trades ORDER BY 1")).scalars().all()
        rows = connection.execute(text("SELECT trades_count, revision FROM market_data ORDER BY timestamp"))
        return list(ids), [tuple(row) for row in rows]


def gap_rows(database_url: str) -> list[tuple[int, int, str]]:
    with engine_of(database_url).connect() as connection:
        rows = connection.execute(text("SELECT first_id, last_id, state FROM data_gaps ORDER BY first_id"))
        return [tuple(row) for row in rows]
