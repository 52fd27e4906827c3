"""The writer while PostgreSQL is away: to disk, back in order, whoever is killed when."""

import asyncio
import random
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text

from config.settings import PROJECT_ROOT
from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.backlog import Bounds
from live.collector.spool import Spool
from live.collector.writer import Writer
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.spool import database_id
from tests.proxy import Proxy

pytestmark = pytest.mark.servers

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
    url: str, spool: Spool | None, told: Told, bounds: Bounds = BOUNDS
) -> AsyncIterator[Writer]:
    writer = Writer(engine_of(url), told.commit, told.tell, spool, bounds)
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


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.02)


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


async def test_an_outage_goes_to_disk_and_back_in_order_with_memory_bounded(database_url, tmp_path):
    told, spool = Told(), Spool(tmp_path, segment_bytes=200_000, reserve_bytes=0)
    async with Proxy(database_url) as proxy, writing(proxy.url, spool, told) as writer:
        put(writer, 1, 500)
        await until(lambda: writer.written_trades == 500)
        await proxy.cut()
        most = 0
        for n in range(40):
            put(writer, 501 + n * 1_000, 1_000)
            await until(lambda: writer.pending_trades <= 2_000)
            most = max(most, writer.pending_trades)
        assert not writer.is_full
        health = writer.health()
        assert (health["postgres_away"], health["spool"]["state"]) == (True, "filling")
        assert health["spool"]["trades"] + writer.pending_trades >= 40_000
        await proxy.restore()
        await until(lambda: "spool_drained" in told.names())
        put(writer, 40_501, 500)
        await until(lambda: stored(database_url)[0][-1] == 41_000)
    ids, candles = stored(database_url)
    assert ids == list(range(1, 41_001))
    assert candles == [(n, 0) for n in range(100, 41_001, 100)]
    assert told.committed == list(range(100, 41_001, 100))
    assert told.names() == ["postgres_away", "spool_started", "postgres_back", "spool_drained"]
    assert "on disk" in dict(told.events)["postgres_back"]
    assert list(tmp_path.iterdir()) == []


async def test_an_outage_longer_than_the_bound_goes_to_disk_however_little_waits(database_url, tmp_path):
    told, spool = Told(), Spool(tmp_path, reserve_bytes=0)
    bounds = Bounds(spill_s=0.5)
    async with Proxy(database_url) as proxy, writing(proxy.url, spool, told, bounds) as writer:
        await writer.recovered.wait()
        await proxy.cut()
        put(writer, 1, 100)
        await until(lambda: writer.health()["spool"]["trades"] >= 100)
        await proxy.restore()
        await until(lambda: "spool_drained" in told.names())
    assert stored(database_url) == (list(range(1, 101)), [(100, 0)])


async def test_stopped_during_an_outage_it_leaves_all_to_the_next_start(database_url, tmp_path):
    told = Told()
    spool = Spool(tmp_path, reserve_bytes=0)
    async with Proxy(database_url) as proxy, writing(proxy.url, spool, told) as writer:
        put(writer, 1, 200)
        await until(lambda: writer.written_trades == 200)
        await proxy.cut()
        put(writer, 201, 400)
        await until(lambda: writer.is_away)
        put(writer, 601, 400)
    async with writing(database_url, Spool(tmp_path, reserve_bytes=0), told) as writer:
        await writer.recovered.wait()
        assert stored(database_url)[0] == list(range(1, 1_001))
    assert stored(database_url)[1] == [(n, 0) for n in range(100, 1_001, 100)]
    assert "spool_found" in told.names()


async def test_a_full_disk_is_told_once_and_trades_wait_in_memory_up_to_the_capacity(database_url, tmp_path):
    told, spool = Told(), Spool(tmp_path, reserve_bytes=1 << 60)
    async with Proxy(database_url) as proxy, writing(proxy.url, spool, told) as writer:
        await writer.recovered.wait()
        await proxy.cut()
        put(writer, 1, 2_000)
        await until(lambda: writer.health()["spool"]["state"] == "full")
        assert not writer.is_full
        put(writer, 2_001, 3_000)
        assert writer.is_full
        await proxy.restore()
        await until(lambda: writer.written_trades == 5_000)
        assert told.names().count("spool_full") == 1
        assert not writer.is_full
    assert stored(database_url)[0] == list(range(1, 5_001))


KILLED = """
import asyncio, sys
from pathlib import Path
from sqlalchemy import text
from live.collector.backlog import Bounds
from live.collector.spool import Spool
from live.collector.writer import Writer
from pipelines.warehouse.database import engine
from tests.contract.test_writer_outage import put

async def main(url, folder):
    own = engine(url)
    spool = Spool(Path(folder), segment_bytes=100_000, reserve_bytes=0)
    writer = Writer(own, lambda candles: None, lambda *event: print(*event, flush=True), spool,
                    Bounds(capacity_trades=10**9, spill_trades=500, spill_s=1))
    running = asyncio.create_task(writer.run())
    await writer.recovered.wait()
    with own.connect() as connection:
        last = connection.execute(text("SELECT max(trade_id) FROM raw_trades")).scalar() or 0
    # As the collector does: what the last transaction did not bring is asked for again, from there on.
    n = last - last % 100 + 1
    print("from", n, flush=True)
    while True:
        put(writer, n, 200)
        n += 200
        await asyncio.sleep(0.01)
        if running.done():
            running.result()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.timeout(120)
async def test_killed_at_random_while_filling_and_draining_nothing_is_lost_or_doubled(database_url, tmp_path):
    dice = random.Random(4)
    kills_with_files = 0
    async with Proxy(database_url) as proxy:
        for _ in range(5):
            process = start(proxy.url, tmp_path)
            await until(lambda p=process: "from" in line_of(p))
            await asyncio.sleep(0.2 + dice.random() * 0.3)
            await proxy.cut()
            await until(lambda: any(tmp_path.glob("*.spool")))
            await asyncio.sleep(dice.random() * 1.5)
            if dice.random() < 0.6:  # killed while draining, else while filling
                await proxy.restore()
                await asyncio.sleep(0.1 + dice.random() * 0.6)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills_with_files += any(tmp_path.glob("*.spool"))
            await proxy.cut()
            await proxy.restore()
        told = Told()
        async with writing(database_url, Spool(tmp_path, reserve_bytes=0), told) as writer:
            await writer.recovered.wait()
    ids, candles = stored(database_url)
    assert kills_with_files >= 2
    assert ids == list(range(1, ids[-1] + 1))
    assert len(ids) > 5_000
    assert candles == [(n, 0) for n in range(100, candles[-1][0] + 1, 100)]
    assert candles[-1][0] >= ids[-1] - 100


def start(url: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, url, str(folder)], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line or process.poll() is None
    return line


async def test_a_spool_is_drained_at_full_speed(database_url, tmp_path):
    told, spool = Told(), Spool(tmp_path, reserve_bytes=0)
    bounds = Bounds(spill_trades=10_000)
    async with Proxy(database_url) as proxy, writing(proxy.url, spool, told, bounds) as writer:
        await writer.recovered.wait()
        await proxy.cut()
        for n in range(20):
            put(writer, 1 + n * 10_000, 10_000)
            await until(lambda: writer.pending_trades <= 20_000)
        await proxy.restore()
        await until(lambda: "spool_drained" in told.names(), 60)
    rate = re.search(r"(\d+) a second", dict(told.events)["spool_drained"])
    assert rate is not None
    assert int(rate[1]) > 5_000  # ten times that on an idle machine
    assert len(stored(database_url)[0]) == 200_000


def test_a_database_keeps_its_name(database_url):
    engine = engine_of(database_url)
    assert database_id(engine) == database_id(engine)
    assert len(database_id(engine)) == 32
