"""Ten bots for days of the market: undisturbed, with their memory watched, or killed again and again."""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
from sqlalchemy import text

from cli.stack.table import figures
from tests import bot_bench as bench
from tests.chaos_rig import Market, Rig
from tests.e2e.test_bot_kills import HAVOC, MARKET, MIDNIGHT, SETTLE_S
from tests.kill_rig import BOTS, faults_of, kill_rig, settled
from tests.soaks.report import say

MINUTE = 60_000
LEAD_S = 30
"""Of wall time that the market runs before the bots are there."""
EVERY_S = 10.0
SAY_EVERY = 6
"""Samples to a line on the way."""
EDGE = 5
"""Samples at either end of which the median is taken; the first fifth of the run warms up."""
MOST_MB, MOST_GROWTH = 120.0, 0.05
DAEMON = "daemon"


def run(minutes: float, hours: float, speed: float | None) -> list[str]:
    """What is beyond the targets after `hours` of the market at `speed` times its pace; without one, within
    `minutes`."""
    pace = speed or hours * 60 / minutes
    start_ms = MIDNIGHT - int(LEAD_S * 1000 * pace)
    end_ms = MIDNIGHT + int(hours * 60) * MINUTE + 5_000
    market = Market(seed=1, activity=0.3, speed=pace, start_ms=start_ms, end_ms=end_ms)
    with tempfile.TemporaryDirectory(prefix="tcp-soak-") as folder, kill_rig(market, Path(folder)) as rig:
        say(f"{len(BOTS)} bots, {hours:g} hours of the market at {pace:g} times its pace")
        samples = _watched(rig, rig.began + market.wall_s)
        beyond = _unsettled(rig)
        records = _records(rig)
        beyond += _crashes(rig)
        rig.daemon.stop()
        say("compares every candle, decision, order and account with a calm run; this takes minutes")
        found = faults_of(rig)
        say(figures([HEADER, *_table(samples, records)]))
        _tell(rig)
        say(f"crashes and restarts: {len(beyond)}; missing, doubled or different: {len(found)}")
        return _growth(samples) + beyond + found


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


Sample = Mapping[str, float]
"""Name → MB: proportional memory of each bot, resident memory of the daemon."""
HEADER = ("", "start MB", "end MB", "max MB", "candles", "orders", "trades", "latency p99 ms")


def _watched(rig: Rig, until_s: float) -> list[Sample]:
    """Memory, to the end of the market."""
    samples: list[Sample] = []
    while time.monotonic() < until_s:
        sample = _sizes_mb(rig)
        if len(samples) % SAY_EVERY == 0 and sample:
            bots = [sample[name] for name in BOTS]
            load = psutil.getloadavg()[0]
            say(f"MB: bots {min(bots):.1f} to {max(bots):.1f}, daemon {sample[DAEMON]:.0f}; load {load:.1f}")
        samples += [sample] if sample else []
        time.sleep(EVERY_S)
    return samples


def _unsettled(rig: Rig) -> list[str]:
    """Bots that have not judged the market's last candle in time."""
    try:
        settled(rig, SETTLE_S)
    except AssertionError as error:
        return [str(error)]
    return []


def _sizes_mb(rig: Rig) -> Sample:
    """One look at the processes; nothing while one of them is being started."""
    with rig.engine.connect() as connection:
        pids = connection.execute(text("SELECT name, pid FROM bots WHERE pid IS NOT NULL")).all()
    try:
        sizes = {name: psutil.Process(pid).memory_full_info().pss / 1e6 for name, pid in pids}
        if (daemon := rig.daemon.pid) is not None:
            sizes[DAEMON] = psutil.Process(daemon).memory_info().rss / 1e6
    except psutil.NoSuchProcess:
        return {}
    return sizes if len(sizes) == len(BOTS) + 1 else {}


def _edges(samples: Sequence[Sample], names: Sequence[str]) -> tuple[float, float]:
    """MB of all those together after the warm-up, and at the end."""
    warm = [sum(sample[name] for name in names) for sample in samples[len(samples) // 5 :]]
    return statistics.median(warm[:EDGE]), statistics.median(warm[-EDGE:])


def _growth(samples: Sequence[Sample]) -> list[str]:
    """What is too much of memory; the figures of all bots together are printed."""
    if not samples:
        return ["the memory of the bots was never seen: they did not all run at once"]
    start, end = _edges(samples, BOTS)
    most = max(sample[name] for sample in samples for name in BOTS)
    say(
        f"PSS of ten bots together: start {start:.0f} MB, end {end:.0f} MB,"
        f" growth {(end / start - 1) * 100:+.1f} %; the largest bot {most:.1f} MB"
    )
    beyond = [] if most <= MOST_MB else [f"a bot took {most:.1f} MB, more than {MOST_MB:g}"]
    if end > start * (1 + MOST_GROWTH):
        beyond.append(f"memory grew from {start:.0f} to {end:.0f} MB")
    return beyond


def _records(rig: Rig) -> dict[str, list[str]]:
    """Bot → candles judged, orders, trades, and the p99 of what its decisions took."""
    statement = text(
        """
        SELECT b.name, (SELECT count(*) FROM signals WHERE bot_id = b.id),
               (SELECT count(*) FROM orders WHERE bot_id = b.id),
               (SELECT count(*) FROM trades WHERE bot_id = b.id),
               (SELECT round(percentile_disc(0.99) WITHIN GROUP (ORDER BY latency_ms)::numeric)
                FROM signals WHERE bot_id = b.id)
        FROM bots b
        """
    )
    with rig.engine.connect() as connection:
        return {name: [str(value) for value in row] for name, *row in connection.execute(statement)}


def _table(samples: Sequence[Sample], records: Mapping[str, list[str]]) -> list[list[str]]:
    """A row for each process."""
    rows = []
    for name in (*BOTS, DAEMON) if samples else ():
        start, end = _edges(samples, [name])
        most = max(sample[name] for sample in samples)
        rows.append([name, *(f"{size:.1f}" for size in (start, end, most)), *records.get(name, [""] * 4)])
    return rows


def _crashes(rig: Rig) -> list[str]:
    with rig.engine.connect() as connection:
        reasons = connection.execute(text("SELECT reason FROM bot_crashes")).scalars().all()
        restarted = connection.execute(text("SELECT name, restarts FROM bots WHERE restarts > 0")).all()
    return [
        *(f"crash: {reason}" for reason in reasons),
        *(f"{name} was started again {times} times" for name, times in restarted),
        *(f"the daemon ended: {code}" for code in rig.daemon.exits),
    ]


def _tell(rig: Rig) -> None:
    own = "SELECT count(*) FROM {} t JOIN bots b ON b.id = t.bot_id WHERE b.name NOT LIKE '%\\_calm'"
    counts = {table: bench.scalar(rig.engine, own.format(table)) for table in ("signals", "orders", "trades")}
    latency = bench.scalar(
        rig.engine,
        "SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY latency_ms) FROM signals WHERE latency_ms > 0",
    )
    say(f"{counts}, each once; latency p99 {latency or 0:.0f} ms; load {psutil.getloadavg()[0]:.1f}")
