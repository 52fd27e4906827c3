"""Candles to a bus that goes away: in order, bounded, told once each way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from core.candles import Candle
from core.errors import Unavailable
from core.timeframes import Timeframe
from live.collector.publisher import CAPACITY, Publisher
from pipelines.clock import SystemClock


class FickleBus:
    """Away when told so; the rest of the port is not called."""

    def __init__(self) -> None:
        self.away = False
        self.sent: list[int] = []

    async def publish(self, channel: str, message: dict[str, Any]) -> None:
        if self.away:
            raise Unavailable("Redis does not answer")
        self.sent.append(message["trades_count"])

    async def set_value(self, key: str, value: dict[str, Any]) -> None:
        await self.publish(key, {"trades_count": -1})


def candle(n: int) -> Candle:
    one = Decimal(1)
    return Candle("BTC-USDT", Timeframe.M1, n * 60_000, one, one, one, one, one, n)


@asynccontextmanager
async def publishing(bus: FickleBus, told: list[str]) -> AsyncIterator[Publisher]:
    publisher = Publisher(bus, SystemClock(), lambda level, event, text: told.append(event))  # type: ignore[arg-type]
    task = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def test_final_candles_of_an_outage_come_in_order_and_it_is_told_once_each_way():
    bus, told = FickleBus(), list[str]()
    async with publishing(bus, told) as publisher:
        publisher.finals([candle(1)])
        await until(lambda: bus.sent == [1])
        bus.away = True
        for n in range(2, 6):
            publisher.finals([candle(n)])
            await until(lambda: publisher.is_away)
        bus.away = False
        await until(lambda: bus.sent == [1, 2, 3, 4, 5])
    assert told == ["redis_away", "redis_back"]


async def test_an_outage_of_hours_keeps_the_newest_candles_and_counts_the_others():
    bus, told = FickleBus(), list[str]()
    bus.away = True
    async with publishing(bus, told) as publisher:
        publisher.finals([candle(0)])
        await until(lambda: publisher.is_away)
        for n in range(1, CAPACITY + 100):
            publisher.finals([candle(n)])
            publisher.running([candle(n)])
        assert publisher.waiting == CAPACITY + 1  # and the one running candle
        assert publisher.left_out == 100
        bus.away = False
        await until(lambda: not publisher.is_away)
    assert bus.sent[:CAPACITY] == list(range(100, CAPACITY + 100))
