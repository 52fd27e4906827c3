"""The writer killed while it fills and drains its spool: every row once."""

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import PROJECT_ROOT
from live.collector.batch import Batch
from live.collector.spool import Spool
from tests.proxy import Proxy
from tests.waiting import until
from tests.writing import Told, candle, stored, trade, writing

pytestmark = pytest.mark.servers


KILLED = """
import asyncio, sys
from pathlib import Path
from sqlalchemy import text
from live.collector.backlog import Bounds
from live.collector.spool import Spool
from live.collector.writer import Writer
from pipelines.warehouse.database import engine
from tests.writing import put

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
