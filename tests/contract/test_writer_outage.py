"""The writer while PostgreSQL is away: to disk, back in order, whoever is killed when."""

import asyncio
import json
import random
import re
import resource
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
from live.collector.batch import Batch
from live.collector.lost import Reasker
from live.collector.segments import START
from live.collector.spool import Spool
from live.collector.writer import Writer
from pipelines.clock import ExchangeClock
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
    bounds = Bounds(spill_s=0.5, lasting_s=1)
    async with Proxy(database_url) as proxy, writing(proxy.url, spool, told, bounds) as writer:
        await writer.recovered.wait()
        await proxy.cut()
        put(writer, 1, 100)
        await until(lambda: writer.health()["spool"]["trades"] >= 100)
        await until(lambda: "postgres_outage" in told.names())
        await proxy.restore()
        await until(lambda: "spool_drained" in told.names())
    assert stored(database_url) == (list(range(1, 101)), [(100, 0)])
    assert told.names() == [
        "postgres_away", "spool_started", "postgres_outage", "postgres_back", "spool_drained"
    ]  # fmt: skip


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
        await until(lambda: "memory_full" in told.names())
        await proxy.restore()
        await until(lambda: writer.written_trades == 5_000)
        await until(lambda: "memory_has_room" in told.names())
        assert [told.names().count(name) for name in ("spool_full", "memory_full", "memory_has_room")] == [
            1
        ] * 3
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


KILLED_AT = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from live.collector.spool import Spool
from pipelines.warehouse.database import engine
import asyncio
from live.collector.writer import Writer

url, folder, point, number = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
seen = 0

def die_at(here):
    global seen
    seen += here == point
    if here == point and seen == number:
        os.kill(os.getpid(), signal.SIGKILL)

class Dying(Spool):
    def read(self, trades):
        die_at("before the read")
        return super().read(trades)

    def drop(self, chunk):
        die_at("before the drop")
        super().drop(chunk)
        die_at("after the drop")

own = engine(url)
event.listen(own, "commit", lambda connection: die_at("before the commit"))

async def main():
    writer = Writer(own, lambda candles: None, lambda *event: None, Dying(folder, reserve_bytes=0))
    running = asyncio.create_task(writer.run())
    await asyncio.wait_for(writer.recovered.wait(), 60)
    running.cancel()

asyncio.run(main())
"""


async def test_a_drain_killed_at_every_step_writes_each_row_once(database_url, tmp_path):
    spool = Spool(tmp_path, segment_bytes=300_000, reserve_bytes=0)
    for n in range(16):
        trades = [trade(m) for m in range(n * 5_000, (n + 1) * 5_000)]
        spool.append([Batch(trades, [candle(n * 5_000 + 4_999)], [])])
    assert len(list(tmp_path.glob("*.spool"))) > 3
    steps = [("before the read", 2), ("before the commit", 2), ("before the drop", 1), ("after the drop", 1)]
    for point, number in steps:
        process = await asyncio.to_thread(drain, database_url, tmp_path, point, number)
        assert process.returncode == -signal.SIGKILL, process.stderr
    assert len(stored(database_url)[0]) in range(1, 80_000)
    process = await asyncio.to_thread(drain, database_url, tmp_path, "never", 1)
    assert process.returncode == 0, process.stderr
    ids, candles = stored(database_url)
    assert ids == list(range(80_000))
    assert [revision for _, revision in candles] == [0] * 16
    assert list(tmp_path.iterdir()) == []


def drain(url: str, folder: Path, point: str, number: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", KILLED_AT, url, str(folder), point, str(number)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=90,
    )


class Exchange:
    """What the exchange has of BTC-USDT, by id; the rest of the port is not called."""

    consecutive_ids = True

    def __init__(self, last_id: int) -> None:
        self.last_id = last_id
        self.asked: list[tuple[int, int]] = []

    async def trades_by_id(self, symbol: str, first_id: int, last_id: int) -> list[Trade]:
        self.asked.append((first_id, last_id))
        return [trade(n) for n in range(first_id, min(last_id, self.last_id) + 1)]


def gap_rows(database_url: str) -> list[tuple[int, int, str]]:
    with engine_of(database_url).connect() as connection:
        rows = connection.execute(text("SELECT first_id, last_id, state FROM data_gaps ORDER BY first_id"))
        return [tuple(row) for row in rows]


def spoil(folder: Path, at: int) -> None:
    """Damage the file in the middle, as a bad disk does."""
    (path,) = folder.glob("*.spool")
    content = bytearray(path.read_bytes())
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)


async def test_what_an_earlier_process_left_damaged_is_open_in_the_ledger_before_the_rest_is_drained(
    database_url, tmp_path
):
    async with writing(database_url, None, Told()) as writer:
        put(writer, 1, 100)
    spool, ends = Spool(tmp_path, reserve_bytes=0), []
    for first in (101, 201, 301):
        spool.append([Batch([trade(n) for n in range(first, first + 100)], [candle(first + 99)], [])])
        ends.append(spool.bytes + START)
    spoil(tmp_path, ends[0] + 4)  # the length in the header of the second record
    told = Told()
    async with writing(database_url, Spool(tmp_path, reserve_bytes=0), told) as writer:
        await writer.recovered.wait()
    assert stored(database_url)[0] == [*range(1, 201), *range(301, 401)]
    assert gap_rows(database_url) == [(201, 400, "open")]
    message = dict(told.events)["spool_damaged"]
    assert "BTC-USDT 201-400" in message
    assert str(next((tmp_path / "damaged").iterdir())) in message


async def test_what_the_disk_damages_while_we_run_is_asked_for_again(database_url, tmp_path):
    told, spool = Told(), Spool(tmp_path, reserve_bytes=0)
    exchange, clock = Exchange(400), ExchangeClock()
    clock.sample(NOON)
    async with Proxy(database_url) as proxy, writing(proxy.url, spool, told) as writer:
        put(writer, 1, 100)
        await until(lambda: writer.written_trades == 100)
        asking = asyncio.create_task(Reasker(exchange, engine_of(proxy.url), clock, writer).run())
        await proxy.cut()
        for first in (101, 201, 301):
            put(writer, first, 100)
            await until(lambda: writer.is_away)
            assert await writer.save()
        spoil(tmp_path, spool.bytes // 2)
        await proxy.restore()
        await until(lambda: stored(database_url)[0] == list(range(1, 401)))
        await until(lambda: [row[2] for row in gap_rows(database_url)] == ["refilled"])
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert exchange.asked == [(201, 300)]
    assert told.names().count("spool_damaged") == 1


async def test_a_row_that_postgres_refuses_is_set_aside_and_holds_up_nobody(database_url, tmp_path):
    told = Told()
    async with writing(database_url, Spool(tmp_path, reserve_bytes=0), told) as writer:
        impossible = Trade("BTC-USDT", 50, NOON, Decimal(10) ** 30, Decimal(1), Side.BUY)
        writer.put(trades=[*map(trade, range(1, 50)), impossible, *map(trade, range(51, 101))])
        writer.put(candles=[candle(100)])
        put(writer, 101, 100)
        await until(lambda: stored(database_url)[0] == [*range(1, 50), *range(51, 201)])
        assert writer.pending_trades == 0
    assert [n for n, _ in stored(database_url)[1]] == [100, 200]
    assert gap_rows(database_url) == [(50, 50, "unfillable")]
    assert told.names() == ["rows_refused"]
    assert json.loads((tmp_path / "damaged" / "refused.jsonl").read_text())["trade_id"] == 50


async def test_a_disk_that_fills_in_the_middle_of_an_outage_keeps_what_it_has_and_the_order(
    database_url, tmp_path
):
    """A file size limit of the kernel stands for the full disk: the same failed write."""
    told, spool = Told(), Spool(tmp_path, reserve_bytes=0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with Proxy(database_url) as proxy, writing(proxy.url, spool, told) as writer:
        await writer.recovered.wait()
        await proxy.cut()
        put(writer, 1, 2_000)
        await until(lambda: writer.health()["spool"]["trades"] == 2_000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (spool.bytes + START + 1_000, hard))
        try:
            put(writer, 2_001, 2_000)
            await until(lambda: writer.health()["spool"]["state"] == "full")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert writer.health()["spool"]["trades"] == 2_000
        await proxy.restore()
        await until(lambda: stored(database_url)[0] == list(range(1, 4_001)))
    assert told.committed == list(range(100, 4_001, 100))
    assert told.names().count("spool_full") == 1
    assert "File too large" in dict(told.events)["spool_full"]
    assert list(tmp_path.iterdir()) == []
