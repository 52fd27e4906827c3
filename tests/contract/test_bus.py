"""Both buses keep the same promises."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from decimal import Decimal

import pytest

from core.errors import Unavailable
from pipelines.bus.base import Bus
from pipelines.bus.memory import MemoryBus
from pipelines.bus.redis import RedisBus


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.servers)])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    made: Bus = MemoryBus() if request.param == "memory" else RedisBus(request.getfixturevalue("redis_url"))
    yield made
    await made.close()


async def test_a_reader_gets_what_is_published_after_its_first_item(bus):
    async with aclosing(bus.subscribe(["market:BTC-USDT"])) as messages:
        assert await anext(messages) == ("bus", {"event": "subscribed"})
        await bus.publish("market:BTC-USDT", {"n": 1})
        await bus.publish("market:ETH-USDT", {"n": 2})
        await bus.publish("market:BTC-USDT", {"n": 3})
        assert await asyncio.wait_for(anext(messages), 5) == ("market:BTC-USDT", {"n": 1})
        assert await asyncio.wait_for(anext(messages), 5) == ("market:BTC-USDT", {"n": 3})


async def test_a_pattern_reads_every_matching_channel(bus):
    async with aclosing(bus.subscribe(["market:*", "system:events"])) as messages:
        await anext(messages)
        await bus.publish("market:ETH-USDT", {"n": 1})
        await bus.publish("status:bot_001", {"n": 2})
        await bus.publish("system:events", {"n": 3})
        assert await asyncio.wait_for(anext(messages), 5) == ("market:ETH-USDT", {"n": 1})
        assert await asyncio.wait_for(anext(messages), 5) == ("system:events", {"n": 3})


async def test_decimals_keep_every_digit(bus):
    exact = {"price": Decimal("64000.100000000000000001"), "tiny": Decimal("1E-18"), "count": 3, "text": "x"}
    async with aclosing(bus.subscribe(["market:BTC-USDT"])) as messages:
        await anext(messages)
        await bus.publish("market:BTC-USDT", exact)
        _, message = await asyncio.wait_for(anext(messages), 5)
    assert message == exact
    assert isinstance(message["price"], Decimal)


async def test_every_reader_gets_its_own_copy(bus):
    async with aclosing(bus.subscribe(["a"])) as one, aclosing(bus.subscribe(["a"])) as two:
        await anext(one)
        await anext(two)
        await bus.publish("a", {"list": [1]})
        (_, first), (_, second) = await anext(one), await anext(two)
    assert first == second == {"list": [1]}
    assert first is not second


async def test_values_are_kept_replaced_and_expire(bus):
    assert await bus.get_value("last:BTC-USDT") is None
    await bus.set_value("last:BTC-USDT", {"price": Decimal("1.5")})
    await bus.set_value("last:BTC-USDT", {"price": Decimal("1.6")})
    assert await bus.get_value("last:BTC-USDT") == {"price": Decimal("1.6")}
    await bus.set_value("short", {"n": 1}, ttl_s=0.02)
    async with asyncio.timeout(5):
        while await bus.get_value("short") is not None:
            await asyncio.sleep(0.005)


@pytest.mark.servers
async def test_a_reader_whose_connection_was_cut_is_told_and_reads_on(redis_url):
    import redis.asyncio as aioredis

    bus = RedisBus(redis_url)
    async with aclosing(bus.subscribe(["a"])) as messages:
        await anext(messages)
        async with aioredis.Redis.from_url(redis_url) as admin:
            await admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        assert await asyncio.wait_for(anext(messages), 10) == ("bus", {"event": "reconnected"})
        await bus.publish("a", {"n": 1})
        assert await asyncio.wait_for(anext(messages), 5) == ("a", {"n": 1})
    await bus.close()


async def test_a_server_that_is_away_is_unavailable(unused_port):
    bus = RedisBus(f"redis://127.0.0.1:{unused_port}/0", socket_timeout_s=1)
    with pytest.raises(Unavailable, match="does not answer"):
        await bus.publish("a", {"n": 1})
    await bus.close()


@pytest.mark.servers
async def test_a_reader_that_is_cancelled_while_data_comes_in_ends(redis_url):
    """redis-py lost one cancellation in twenty: bots and tests hung at their end."""
    bus = RedisBus(redis_url)
    for _ in range(60):
        reading = asyncio.create_task(anext_for_ever(bus))
        await asyncio.sleep(0.002)
        await bus.publish("a", {"n": 1})
        reading.cancel()
        done, _ = await asyncio.wait({reading}, timeout=5)
        assert done
    await bus.close()


async def anext_for_ever(bus: Bus) -> None:
    async with aclosing(bus.subscribe(["a"])) as messages:
        async for _ in messages:
            pass
