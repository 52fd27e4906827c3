"""How long it takes until a trade is a committed row, and until a closed candle is published, from outside.

Run with `pytest tests/bench/bench_finality.py -s`. BENCH_FINALITY_RATE (default 2000) is the number of trades
a second over ten symbols, BENCH_FINALITY_SECONDS (default 130, so that two minutes end in it) the length.
Sender and onlooker are processes of their own; the collector and its database are the product's.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE

import pytest

from core.timeframes import Timeframe
from live.collector.collector import GRACE_S, Collector
from pipelines.bus.redis import RedisBus
from pipelines.clock import ExchangeClock, SystemClock
from pipelines.exchanges.okx.feed import OkxTradeFeed
from pipelines.warehouse.database import engine as engine_of
from tests.bench.bench_collector import NoRest
from tests.bench.firehose import Firehose

RATE = int(os.environ.get("BENCH_FINALITY_RATE", "2000"))
SECONDS = float(os.environ.get("BENCH_FINALITY_SECONDS", "130"))
SYMBOLS = tuple(f"C{n}-USDT" for n in range(10))


def quantiles(values: list[float]) -> str:
    """p50, p99 and maximum, ms."""
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99)]
    return f"p50 {at[0]:.1f} ms, p99 {at[1]:.1f}, max {ordered[-1]:.1f}"


@pytest.mark.servers
@pytest.mark.timeout(900)
async def test_time_to_a_committed_row_and_to_a_published_final_candle(database_url, redis_url, tell):
    bus = RedisBus(redis_url)
    watcher = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.watcher",
        database_url,
        redis_url,
        SYMBOLS[0],
        stdin=PIPE,
        stdout=PIPE,
        limit=1 << 26,
    )
    assert watcher.stdin is not None and watcher.stdout is not None
    await watcher.stdout.readline()
    async with Firehose(RATE, SECONDS, SYMBOLS) as sender:
        collector = Collector(
            SYMBOLS,
            tuple(Timeframe),
            NoRest(),
            OkxTradeFeed(sender.url),
            engine_of(database_url),
            bus,
            ExchangeClock(),
            SystemClock(),
            history_days=0,
            on_event=lambda level, event, message: None,
        )
        running = asyncio.create_task(collector.run())
        told = await sender.done()
        while collector.health()["written_trades"] < told["sent"]:
            assert not running.done(), running.exception()
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await bus.close()
    watcher.stdin.close()
    seen = json.loads(await watcher.stdout.readline())
    await watcher.wait()
    finals = [ms for boundary in seen["finals"] for ms in boundary]
    tell(
        f"{RATE} trades/s, {len(SYMBOLS)} symbols, {SECONDS:.0f} s: sending to visible row "
        f"{quantiles(seen['rows'])} ({len(seen['rows'])} trades of one symbol)",
        "visible-row",
    )
    tell(
        f"boundary to published final candle, of which {GRACE_S * 1000:.0f} ms are grace: "
        f"{quantiles(finals)} ({len(finals)} candles at {len(seen['finals'])} boundaries)",
        "final-candle",
    )
