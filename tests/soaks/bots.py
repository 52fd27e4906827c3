"""Ten bots for days of the market: undisturbed, with their memory watched, or killed again and again."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
from sqlalchemy import text

from tests import bot_bench as bench
from tests.chaos_rig import Market, Rig
from tests.e2e.test_bot_kills import HAVOC, MARKET, MIDNIGHT, SETTLE_S
from tests.kill_rig import BOTS, faults_of, kill_rig, settled
from tests.soaks.report import say

MINUTE = 60_000
LEAD_MS = 30 * MINUTE
"""Of the market, before the bots are there."""
EVERY_S = 10.0
EDGE = 5
"""Samples at either end of which the median is taken; the first fifth of the run warms up."""
MOST_MB, MOST_GROWTH = 120.0, 0.05


def run(minutes: float, hours: float) -> list[str]:
    """What is beyond the targets after `hours` of the market within `minutes`."""
    speed = hours * 60 / minutes
    start_ms = MIDNIGHT - LEAD_MS
    end_ms = MIDNIGHT + int(hours * 60) * MINUTE + 5_000
    market = Market(seed=1, activity=0.3, speed=speed, start_ms=start_ms, end_ms=end_ms)
    with tempfile.TemporaryDirectory(prefix="tcp-soak-") as folder, kill_rig(market, Path(folder)) as rig:
        say(f"{len(BOTS)} bots, {hours:g} hours of the market at {speed:g} times its pace")
        beyond = _watched(rig, rig.began + market.wall_s)
        settled(rig, SETTLE_S)
        beyond += _crashes(rig)
        rig.daemon.stop()
        beyond += faults_of(rig)
        _tell(rig)
        return beyond


def kills(minutes: float) -> list[str]:
    """What is not as it must be after the kill test for so long, killed as often a minute."""
    times = minutes * 60 / MARKET.wall_s
    market = replace(MARKET, end_ms=MARKET.start_ms + int(minutes * MINUTE * MARKET.speed))
    names = ("bots", "daemons", "nurseries", "stops")
    havoc = replace(HAVOC, **{name: round(getattr(HAVOC, name) * times) or 1 for name in names})
    with tempfile.TemporaryDirectory(prefix="tcp-soak-") as folder, kill_rig(market, Path(folder)) as rig:
        say(f"kills of {havoc.bots} bots and {havoc.daemons} daemons, {havoc.stops} stops of each server")
        havoc.wreak(rig)
        settled(rig, SETTLE_S * max(1.0, times))
        rig.daemon.stop()
        found = faults_of(rig)
        _tell(rig)
        return found


def _watched(rig: Rig, until_s: float) -> list[str]:
    """Memory of the bots to the end; what is too much of it."""
    samples: list[list[float]] = []
    while time.monotonic() < until_s:
        if sizes := _sizes_mb(rig):
            samples.append(sizes)
        if len(samples) % 6 == 1:
            say(
                f"PSS MB: {min(samples[-1]):.1f} to {max(samples[-1]):.1f}; load {psutil.getloadavg()[0]:.1f}"
            )
        time.sleep(EVERY_S)
    warm = [sum(sizes) for sizes in samples[len(samples) // 5 :]]
    most = max(max(sizes) for sizes in samples)
    start, end = statistics.median(warm[:EDGE]), statistics.median(warm[-EDGE:])
    say(
        f"PSS of ten bots together: start {start:.0f} MB, end {end:.0f} MB,"
        f" growth {(end / start - 1) * 100:+.1f} %; the largest bot {most:.1f} MB"
    )
    beyond = [] if most <= MOST_MB else [f"a bot took {most:.1f} MB, more than {MOST_MB:g}"]
    return beyond + (
        [f"memory grew from {start:.0f} to {end:.0f} MB"] if end > start * (1 + MOST_GROWTH) else []
    )


def _sizes_mb(rig: Rig) -> Sequence[float]:
    """Proportional memory of each bot; nothing while one of them is being started."""
    with rig.engine.connect() as connection:
        pids = connection.execute(text("SELECT pid FROM bots WHERE pid IS NOT NULL")).scalars().all()
    try:
        sizes = [psutil.Process(pid).memory_full_info().pss / 1e6 for pid in pids]
    except psutil.NoSuchProcess:
        return []
    return sizes if len(sizes) == len(BOTS) else []


def _crashes(rig: Rig) -> list[str]:
    with rig.engine.connect() as connection:
        reasons = connection.execute(text("SELECT reason FROM bot_crashes")).scalars().all()
    return [f"crash: {reason}" for reason in reasons] + [
        f"the daemon ended: {code}" for code in rig.daemon.exits
    ]


def _tell(rig: Rig) -> None:
    own = "SELECT count(*) FROM {} t JOIN bots b ON b.id = t.bot_id WHERE b.name NOT LIKE '%\\_calm'"
    counts = {table: bench.scalar(rig.engine, own.format(table)) for table in ("signals", "orders", "trades")}
    latency = bench.scalar(
        rig.engine,
        "SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY latency_ms) FROM signals WHERE latency_ms > 0",
    )
    say(f"{counts}, each once; latency p99 {latency or 0:.0f} ms; load {psutil.getloadavg()[0]:.1f}")
