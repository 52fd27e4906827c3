"""What a trade costs from frame to candle, and how long it takes to a committed row.

Run with `pytest tests/bench/bench_collector.py -s`. BENCH_TRADES_PER_S (default 3000) changes the load.
"""

import asyncio
import os
import sys
import time
from collections import deque
from decimal import Decimal

import pytest

from core.continuity import Continuity
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.collector import Collector
from live.collector.stream import SymbolStream
from pipelines.bus.redis import RedisBus
from pipelines.clock import ExchangeClock, SystemClock
from pipelines.exchanges.okx.codec import Codec
from pipelines.warehouse.database import engine as engine_of

START = 1_763_726_400_000
PER_S = int(os.environ.get("BENCH_TRADES_PER_S", "3000"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "10"))
READ = 50
"""Frames that one read of the socket brings on a busy day."""
SYMBOLS = tuple(f"C{n}-USDT" for n in range(10))


def frame(n: int) -> bytes:
    return (
        '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT",'
        f'"tradeId":"{n}","px":"{42_000 + n % 97}.{n % 10}","sz":"0.12060306","side":"buy",'
        f'"ts":"{START + n * 5}","count":"1","source":"0","seqId":{n}}}]}}'
    ).encode()


def test_cost_of_a_trade_from_frame_to_candle(capsys):
    count = 200_000
    frames = [frame(n) for n in range(1, count + 1)]
    codec = Codec()
    stream = SymbolStream("BTC-USDT", Timeframe, START, Continuity(0))
    started = time.process_time()
    for n in range(0, count, READ):
        for trades in codec.decode_trades(frames[n : n + READ]).values():
            stream.take(trades)
        stream.advance(START + n * 5, 1_000, 0.0)
    elapsed = time.process_time() - started
    assert stream.trades == count
    with capsys.disabled():
        sys.stdout.write(f"\ndecode, continuity, candle: {elapsed / count * 1e6:.2f} µs a trade\n")


class Firehose:
    """A feed of PER_S trades a second over all symbols, in frames of one trade."""

    def __init__(self) -> None:
        self.sent = 0
        self.done = asyncio.Event()

    async def run(self, symbols, on_trades, on_state):
        on_state("live", "")
        await asyncio.sleep(1)
        started = time.monotonic()
        while self.sent < PER_S * SECONDS:
            due = int((time.monotonic() - started) * PER_S)
            while self.sent < min(due, PER_S * SECONDS):
                self.sent += 1
                symbol = symbols[self.sent % len(symbols)]
                at_ms = time.time_ns() // 1_000_000
                trade_id = 1_000 + (self.sent - 1) // len(symbols) + 1
                on_trades([Trade(symbol, trade_id, at_ms, Decimal("42219.9"), Decimal("0.1206"), Side.BUY)])
            await asyncio.sleep(0.002)
        self.done.set()
        await asyncio.Event().wait()


class NoRest:
    """An exchange whose REST has nothing but the time."""

    consecutive_ids = True

    async def instruments(self):
        return []

    async def server_time_ms(self):
        return time.time_ns() // 1_000_000

    async def candles(self, symbol, timeframe, start_ms, end_ms):
        return []

    async def recent_trades(self, symbol, limit=500):
        return []

    async def trades_by_id(self, symbol, first_id, last_id):
        return []

    async def close(self):
        return None


@pytest.mark.servers
async def test_time_to_a_committed_row(database_url, redis_url, capsys):
    feed, bus = Firehose(), RedisBus(redis_url)
    collector = Collector(
        SYMBOLS,
        tuple(Timeframe),
        NoRest(),
        feed,
        engine_of(database_url),
        bus,
        ExchangeClock(),
        SystemClock(),
        history_days=0,
        on_event=lambda level, event, message: None,
    )
    waiting: deque[tuple[int, float]] = deque()
    latencies: list[float] = []
    used = time.process_time()
    running = asyncio.create_task(collector.run())
    while not (feed.done.is_set() and collector.health()["written_trades"] >= feed.sent):
        now = time.monotonic()
        if not waiting or waiting[-1][0] < feed.sent:
            waiting.append((feed.sent, now))
        while waiting and collector._writer.written_trades >= waiting[0][0]:
            latencies.append((now - waiting.popleft()[1]) * 1000)
        await asyncio.sleep(0.001)
    used = time.process_time() - used
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await bus.close()
    latencies.sort()
    with capsys.disabled():
        sys.stdout.write(
            f"\n{PER_S} trades/s, {len(SYMBOLS)} symbols, {SECONDS} s: socket to committed row "
            f"p50 {latencies[len(latencies) // 2]:.1f} ms, p99 {latencies[int(len(latencies) * 0.99)]:.1f}, "
            f"max {latencies[-1]:.1f}; processor time {used / feed.sent * 1e6:.1f} µs a trade\n"
        )
