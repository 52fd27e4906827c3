"""How many trades a second go from a socket to committed rows, with the sender and Postgres beside it.

Run with `pytest tests/bench/bench_throughput.py -s`. BENCH_THROUGHPUT (default 80000) is the load,
BENCH_SECONDS (default 60) its length, BENCH_SOCKETS (default 1) the number of parallel connections.
"""

import asyncio
import json
import os
import sys
import time

import psutil
import pytest
from sqlalchemy import text

from core.timeframes import Timeframe
from live.collector.collector import Collector
from pipelines.bus.redis import RedisBus
from pipelines.clock import ExchangeClock, SystemClock
from pipelines.exchanges.okx.feed import OkxTradeFeed
from pipelines.exchanges.parallel import ParallelFeed
from pipelines.warehouse.database import engine as engine_of
from tests.bench.bench_collector import NoRest

RATE = int(os.environ.get("BENCH_THROUGHPUT", "80000"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
SOCKETS = int(os.environ.get("BENCH_SOCKETS", "1"))
SYMBOLS = tuple(f"C{n}-USDT" for n in range(10))


def postgres_cpu_s() -> float:
    """Processor time of all server processes."""
    total = 0.0
    for process in psutil.process_iter(["name", "cpu_times"]):
        if process.info["name"] == "postgres":
            times = process.info["cpu_times"]
            total += times.user + times.system
    return total


@pytest.mark.servers
async def test_trades_a_second_from_socket_to_committed_rows(database_url, redis_url, capsys):
    sender = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.firehose", str(RATE), str(SECONDS), ",".join(SYMBOLS), str(SOCKETS),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert sender.stdout is not None
    port = int(await sender.stdout.readline())
    feeds = [OkxTradeFeed(f"ws://127.0.0.1:{port}/ws/v5") for _ in range(SOCKETS)]
    feed = feeds[0] if SOCKETS == 1 else ParallelFeed(feeds)
    bus, engine = RedisBus(redis_url), engine_of(database_url)
    collector = Collector(
        SYMBOLS,
        tuple(Timeframe),
        NoRest(),
        feed,
        engine,
        bus,
        ExchangeClock(),
        SystemClock(),
        history_days=0,
        on_event=lambda level, event, message: None,
    )
    running = asyncio.create_task(collector.run())
    while not collector.health()["received_trades"]:
        await asyncio.sleep(0.005)
        assert not running.done(), running.exception()
    started, cpu, server_cpu = time.monotonic(), time.process_time(), postgres_cpu_s()
    told = json.loads(await sender.stdout.readline())
    pending = collector.health()["pending_trades"]
    while collector.health()["written_trades"] < told["sent"]:
        await asyncio.sleep(0.01)
        assert not running.done(), running.exception()
    took_s, cpu, server_cpu = (
        time.monotonic() - started,
        time.process_time() - cpu,
        postgres_cpu_s() - server_cpu,
    )
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bus.close()
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT count(*) FROM raw_trades")).scalar()
    assert rows == told["sent"]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{SOCKETS} socket(s): {told['sent']} trades sent in {told['took_s']:.1f} s, all committed after "
            f"{took_s:.1f} s: {told['sent'] / took_s:.0f} a second (asked {RATE}); waiting at the end of sending: "
            f"{pending}\nprocessor time a trade: sender {told['cpu_s'] / told['sent'] * 1e6:.1f} µs, collector "
            f"{cpu / told['sent'] * 1e6:.1f} µs, PostgreSQL {server_cpu / told['sent'] * 1e6:.1f} µs\n"
        )
    sender.stdin.close()
    await sender.wait()
