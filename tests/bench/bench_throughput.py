"""How many trades a second go from a socket to committed rows, with the sender and Postgres beside it, and
what receiving one costs beside ccxt.pro.

Run with `pytest tests/bench/bench_throughput.py -s`. BENCH_THROUGHPUT (default 80000) is the load,
BENCH_SECONDS (default 60) its length, BENCH_SOCKETS (default 1) the number of parallel connections.
"""

import asyncio
import os
import time
from collections.abc import Sequence

import ccxt.pro
import psutil
import pytest
from sqlalchemy import text

from core.continuity import Continuity
from core.timeframes import Timeframe
from core.trades import Trade
from live.collector.collector import Collector
from live.collector.stream import SymbolStream
from pipelines.bus.redis import RedisBus
from pipelines.clock import ExchangeClock, SystemClock
from pipelines.exchanges.okx.feed import OkxTradeFeed
from pipelines.exchanges.parallel import ParallelFeed
from pipelines.warehouse.database import engine as engine_of
from tests.bench.bench_collector import NoRest
from tests.bench.firehose import FIRST_ID, Firehose

RATE = int(os.environ.get("BENCH_THROUGHPUT", "80000"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
SOCKETS = int(os.environ.get("BENCH_SOCKETS", "1"))
SYMBOLS = tuple(f"C{n}-USDT" for n in range(10))
BESIDE_CCXT = 3_000
"""Trades a second to compare what receiving costs; ccxt.pro stops reading for good when far more come."""


def postgres_cpu_s() -> float:
    """Processor time of all server processes."""
    total = 0.0
    for process in psutil.process_iter(["name", "cpu_times"]):
        if process.info["name"] == "postgres":
            times = process.info["cpu_times"]
            total += times.user + times.system
    return total


def feed_of(url: str):
    feeds = [OkxTradeFeed(url) for _ in range(SOCKETS)]
    return feeds[0] if SOCKETS == 1 else ParallelFeed(feeds)


@pytest.mark.servers
async def test_trades_a_second_from_socket_to_committed_rows(database_url, redis_url, tell):
    bus, engine = RedisBus(redis_url), engine_of(database_url)
    async with Firehose(RATE, SECONDS, SYMBOLS, SOCKETS) as sender:
        collector = Collector(
            SYMBOLS,
            tuple(Timeframe),
            NoRest(),
            feed_of(sender.url),
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
        told = await sender.done()
        pending = collector.health()["pending_trades"]
        while collector.health()["written_trades"] < told["sent"]:
            await asyncio.sleep(0.01)
            assert not running.done(), running.exception()
            refused = collector.health()["refused_trades"]
            assert not refused, f"{refused} trades did not fit into memory: {RATE} a second is too much here"
        took_s = time.monotonic() - started
        cpu, server_cpu = time.process_time() - cpu, postgres_cpu_s() - server_cpu
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    await bus.close()
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT count(*) FROM raw_trades")).scalar()
    assert rows == told["sent"]
    micro = 1e6 / told["sent"]
    tell(
        f"{SOCKETS} socket(s): {told['sent']} trades sent in {told['took_s']:.1f} s (asked {RATE} a "
        f"second), all committed in {took_s:.1f} s: {told['sent'] / took_s:.0f} a second; waiting when "
        f"the last was sent: {pending}\n"
        f"processor time a trade: sender {told['cpu_s'] * micro:.1f} µs, collector {cpu * micro:.1f} µs, "
        f"PostgreSQL {server_cpu * micro:.1f} µs",
        "throughput" if RATE <= 80_000 else "throughput-limit",
    )


async def ours(sender: Firehose) -> tuple[float, int]:
    """Receive, decode, check continuity and aggregate to candles: processor seconds, trades."""
    minute = time.time_ns() // 60_000_000_000 * 60_000
    streams = {symbol: SymbolStream(symbol, Timeframe, minute, Continuity(FIRST_ID)) for symbol in SYMBOLS}
    feed = OkxTradeFeed(sender.url)
    begun: list[float] = []

    def take(new: Sequence[Trade]) -> None:
        if not begun:
            begun.append(time.process_time())
        streams[new[0].symbol].take(new)

    receiving = asyncio.create_task(feed.run(SYMBOLS, take, lambda *state: None))
    await sender.done()
    used = time.process_time() - begun[0]
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    return used, sum(stream.trades for stream in streams.values())


async def theirs(sender: Firehose) -> tuple[float, int]:
    """Receive and parse with ccxt.pro, no continuity, no candles: the same."""
    exchange = ccxt.pro.okx()
    exchange.urls["api"]["ws"] = sender.url
    slashed = [symbol.replace("-", "/") for symbol in SYMBOLS]
    exchange.set_markets(
        [
            exchange.safe_market_structure(
                {
                    "id": market,
                    "symbol": name,
                    "base": name[:2],
                    "quote": "USDT",
                    "type": "spot",
                    "spot": True,
                }
            )
            for market, name in zip(SYMBOLS, slashed, strict=True)
        ]
    )

    begun: list[float] = []

    async def receive() -> None:
        while True:
            await exchange.watch_trades_for_symbols(slashed)
            if not begun:
                begun.append(time.process_time())

    receiving = asyncio.create_task(receive())
    await sender.done()
    used = time.process_time() - begun[0]
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    await exchange.close()
    return used, sum(int(kept[-1]["id"]) - FIRST_ID for kept in exchange.trades.values())


async def test_processor_time_of_a_trade_beside_ccxt_pro(tell):
    """The same frames at the same pace; ccxt.pro is divided by what it parsed."""
    micro, lines = {}, []
    for receive in (ours, theirs):
        async with Firehose(BESIDE_CCXT, 5, SYMBOLS) as sender:
            used, count = await receive(sender)
        micro[receive] = used / count * 1e6
        lines.append(
            f"{receive.__name__}: {micro[receive]:.2f} µs a trade, {count} of {BESIDE_CCXT * 5} trades"
        )
    lines.append(f"ccxt.pro takes {micro[theirs] / micro[ours]:.1f} times as long")
    tell("\n".join(lines), "beside-ccxt")
