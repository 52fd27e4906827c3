"""Resident memory of the daemon under a steady load, without any fault."""

import statistics
import tempfile
import time
from pathlib import Path

import psutil
from sqlalchemy import Engine, text

from tests.chaos_rig import SYMBOLS, Market, Rig, chaos_rig
from tests.soaks.report import say
from tests.stack import eventually

MIDNIGHT = 1_772_409_600_000  # 2026-03-02
SPEED = 300.0
ROWS_AT_ACTIVITY_1 = 1.427
"""Rows a virtual second that the model of these symbols pushes at activity 1."""
EVERY_S = 5.0
WARM_S = 360.0
"""Before memory counts, history is loaded and the builders fill with the minutes they keep (26 h of the
market); a fifth of the time when that is less."""
EDGE = 5
"""Samples at either end of which the median is taken."""
MOST_MB, MOST_GROWTH = 300.0, 0.05
START_S = 60


def run(minutes: float, rate: float) -> list[str]:
    """What is beyond the targets. rate: trades a second"""
    seconds = minutes * 60
    warm_s = min(WARM_S, seconds / 5)
    length_ms = int((seconds + warm_s + START_S) * 1000 * SPEED)
    market = Market(
        seed=1,
        activity=rate / SPEED / ROWS_AT_ACTIVITY_1,
        speed=SPEED,
        start_ms=MIDNIGHT + 60_000,
        end_ms=MIDNIGHT + 60_000 + length_ms,
    )
    with (
        tempfile.TemporaryDirectory(prefix="tcp-soak-") as folder,
        chaos_rig(market, Path(folder), truth=False) as rig,
    ):
        eventually(lambda: _stored(rig.engine) > 0, START_S, "trades")
        time.sleep(warm_s)
        return _watched(rig, seconds)


def _watched(rig: Rig, seconds: float) -> list[str]:
    pid, began, rows = rig.daemon.pid, time.monotonic(), _stored(rig.engine)
    assert pid is not None
    process, samples = psutil.Process(pid), list[float]()
    while time.monotonic() - began < seconds:
        samples.append(process.memory_info().rss / 1e6)
        if len(samples) % 12 == 1:
            say(f"{(time.monotonic() - began) / 60:5.1f} min  {samples[-1]:6.1f} MB")
        time.sleep(EVERY_S)
    took_s = time.monotonic() - began
    stored = (_stored(rig.engine) - rows) / took_s
    start, end = statistics.median(samples[:EDGE]), statistics.median(samples[-EDGE:])
    growth = end / start - 1
    say(
        f"memory of the daemon over {took_s / 60:.1f} min at {stored:.0f} trades a second of {len(SYMBOLS)} "
        f"symbols: start {start:.1f} MB, end {end:.1f} MB, maximum {max(samples):.1f} MB, "
        f"growth {growth * 100:+.1f} %"
    )
    beyond = []
    if max(samples) > MOST_MB:
        beyond.append(f"memory: {max(samples):.1f} MB are more than {MOST_MB:.0f}")
    if growth > MOST_GROWTH:
        beyond.append(f"memory grew by {growth * 100:.1f} %")
    if rig.daemon.exits:
        beyond.append(f"the daemon ended: {rig.daemon.exits}")
    return beyond


def _stored(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM raw_trades")).scalar_one())
