"""The writer while PostgreSQL is away: to disk, and back in order."""

import re
import resource

import msgspec
import pytest
from sqlalchemy import text

from live.collector.backlog import Bounds
from live.collector.segments import START
from live.collector.spool import Spool
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.lock import DaemonLock
from pipelines.warehouse.spool import database_id
from tests.proxy import Proxy
from tests.waiting import until
from tests.writing import Told, candle, put, stored, writing

pytestmark = pytest.mark.servers
ENDED = text("""
    SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory'
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")


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


async def test_a_candle_that_was_revised_while_it_waited_is_told_once_as_it_is_stored(database_url, tmp_path):
    told, spool = Told(), Spool(tmp_path, reserve_bytes=0)
    provisional = msgspec.structs.replace(candle(1), trades_count=7, provisional=True)
    async with Proxy(database_url) as proxy, writing(proxy.url, spool, told) as writer:
        await writer.recovered.wait()
        await proxy.cut()
        writer.put(candles=[provisional, candle(2)])
        writer.put(candles=[msgspec.structs.replace(candle(1), revision=1)])
        await proxy.restore()
        await until(lambda: len(told.committed) >= 2)
    assert stored(database_url)[1] == [(1, 1), (2, 0)]
    assert told.committed == [1, 2]


def test_a_database_keeps_its_name(database_url):
    engine = engine_of(database_url)
    assert database_id(engine) == database_id(engine)
    assert len(database_id(engine)) == 32


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


async def test_a_daemon_whose_lock_is_gone_writes_nothing_until_it_has_it_again(database_url):
    """Its machine was cut off, another one took over, and the cable is back: what it still has is not stored
    beside what the other one stores."""
    engine, told = engine_of(database_url), Told()
    lock, other = DaemonLock(engine), DaemonLock(engine)
    assert lock.hold()
    async with writing(database_url, None, told, confirm=lock.confirm) as writer:
        put(writer, 1, 100)
        await until(lambda: writer.written_trades == 100)
        with engine.begin() as connection:
            connection.execute(ENDED)
        await until(other.hold)  # a session is told to end, and takes its time
        put(writer, 101, 100)
        await until(lambda: "postgres_away" in told.names())
        assert len(stored(database_url)[0]) == 100
        other.release()
        assert lock.hold()
        await until(lambda: writer.written_trades == 200)
    assert stored(database_url)[0] == list(range(1, 201))
    lock.release()
