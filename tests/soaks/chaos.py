"""The chaos run for longer: the faults, kills and stops of the test, as often a minute."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.chaos_rig import SYMBOLS, Havoc, chaos_rig
from tests.e2e.test_chaos import FIRST_CANDLES_S, HAVOC, MARKET, SETTLE_S
from tests.soaks.report import say
from tests.stack import eventually


def run(minutes: float) -> list[str]:
    """What is not as it was emitted."""
    times = minutes * 60 / MARKET.wall_s
    length_ms = int(minutes * 60_000 * MARKET.speed)
    market = replace(MARKET, end_ms=MARKET.start_ms + length_ms)
    havoc = Havoc(HAVOC.seed, round(HAVOC.kills * times) or 1, round(HAVOC.stops * times) or 1)
    with tempfile.TemporaryDirectory(prefix="tcp-soak-") as folder, chaos_rig(market, Path(folder)) as rig:
        eventually(
            lambda: rig.emitted.note_begin() == len(SYMBOLS), FIRST_CANDLES_S, "candles of every symbol"
        )
        ends = rig.began + market.wall_s
        say(f"{rig.trades} trades, {havoc.kills} kills, {havoc.stops} stops of each server: {minutes:g} min")
        havoc.wreak(rig)
        time.sleep(max(0.0, ends - time.monotonic()))
        faults, compared = rig.settled(SETTLE_S * max(1.0, times))
        say(f"stored and compared: {compared}; exit codes of the daemon: {sorted(set(rig.daemon.exits))}")
        return faults
