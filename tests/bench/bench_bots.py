"""Ten supervised bots on an accelerated market: memory, latency and processor time of each, and how long a
stop and a start take beside the other nine.

Run it with `pytest tests/bench/bench_bots.py -s`; it prints what it measures, and it fails when a decision is
missing. BENCH_SPEED (default 60 virtual seconds a second) and BENCH_CANDLES (60) change the load.
"""

import asyncio
import json
import os
import time
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine, text

from config.settings import Settings
from live.bots.supervisor import BotSupervisor
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.bots import announce, find_bot, list_bots, set_status
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import beat
from pipelines.warehouse.instruments import upsert_instruments
from tests import bot_bench as bench
from tests.bench.figures import Tell

BOTS, HISTORY = 10, 1000
SPEED, CANDLES = float(os.environ.get("BENCH_SPEED", "60")), int(os.environ.get("BENCH_CANDLES", "60"))
STRATEGIES = ("ema_crossover", "rsi_reversion", "macd_trend", "sma_crossover", "bollinger_reversion")


def _pss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


async def _switching(engine: Engine, bus: RedisBus) -> tuple[list[float], list[float]]:
    """Seconds from the moment a stop is asked for until the process is gone and its state says so, and from a
    start until the bot runs, of each bot in turn."""
    stops, starts = [], []
    for row in list_bots(engine):
        for wanted, seen, took in (("stopped", "stopped", stops), ("active", "running", starts)):
            began = time.monotonic()
            set_status(engine, row.name, wanted)
            await announce(bus, row.name)
            while find_bot(engine, row.name).state != seen:
                await asyncio.sleep(0.005)
            took.append(time.monotonic() - began)
    return stops, starts


@pytest.mark.servers
@pytest.mark.timeout(900)
async def test_ten_bots(database_url: str, redis_url: str, tmp_path: Path, tell: Tell):
    """Every bot judges every candle; the figures are printed."""
    (tmp_path / "bots").mkdir()
    for n in range(BOTS):
        document = {"bot_id": f"bot_{n}", "strategy": STRATEGIES[n % 5], "symbol": bench.SYMBOL}
        document |= {"timeframe": "1m", "virtual_balance": 10000}
        (tmp_path / "bots" / f"bot_{n}.json").write_text(json.dumps(document))
    engine = engine_of(database_url)
    candles = bench.walk(HISTORY + CANDLES + 1)
    upsert_instruments(engine, [bench.BTC])
    bench.store(engine, candles[:HISTORY])
    beat(engine, "live", 0, candles[HISTORY - 1].close_ms + 1, {})
    settings = Settings(config_dir=tmp_path, home=tmp_path, database_url=database_url, redis_url=redis_url)
    bus, began = RedisBus(redis_url), time.monotonic()
    supervisor = asyncio.create_task(BotSupervisor(settings, engine, bus).run())

    def count() -> int:
        return int(bench.scalar(engine, "SELECT count(*) FROM signals"))

    try:
        await bench.until(lambda: count() == BOTS, "all bots have begun", 300)
        started_s = time.monotonic() - began
        processes = [psutil.Process(row.pid) for row in list_bots(engine)]
        before = [sum(process.cpu_times()[:2]) for process in processes]
        for n in range(HISTORY, HISTORY + CANDLES):
            bench.store(engine, [candles[n]])
            await bench.publish(bus, candles[n], candles[n + 1])
            for _ in range(4):  # a running candle four times a second is the pace of the market, not a wait
                await asyncio.sleep(60 / SPEED / 4)
                await bus.publish(f"market:{bench.SYMBOL}", bench.message(candles[n + 1], final=False))
        await bench.until(lambda: count() == BOTS * (CANDLES + 1), "every candle was judged", 120)
        cpu_ms = [
            (sum(process.cpu_times()[:2]) - start) * 1000 / CANDLES
            for process, start in zip(processes, before, strict=True)
        ]
        pss = [_pss_mb(process.pid) for process in processes]
        with engine.connect() as connection:
            latencies = connection.execute(
                text(
                    "SELECT percentile_disc(ARRAY[0.5, 0.9, 0.99, 1]) WITHIN GROUP (ORDER BY latency_ms),"
                    " count(latency_ms), (SELECT count(*) FROM trades) FROM signals"
                )
            ).one()
        stops, starts = await _switching(engine, bus)
    finally:
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)
        await bus.close()
        engine.dispose()
    tell(
        f"{BOTS} bots, {SPEED:g}x, {CANDLES} candles; all begun after {started_s:.1f} s, with "
        f"{max(before):.2f} s of CPU each; CPU ms a candle and bot {min(cpu_ms):.1f} to {max(cpu_ms):.1f}"
    )
    tell(f"{min(pss):.0f} to {max(pss):.0f} MB, together {sum(pss):.0f}", "bot-memory")
    tell(f"p50, p90, p99, longest {latencies[0]} ms of {latencies[1]}; {latencies[2]} trades", "bot-latency")
    tell(
        f"stop: median {sorted(stops)[BOTS // 2]:.2f} s, longest {max(stops):.2f}; "
        f"start: median {sorted(starts)[BOTS // 2]:.2f} s, longest {max(starts):.2f}",
        "bot-switch",
    )
