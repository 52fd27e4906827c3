"""The chaos run: every fault of the exchange, a daemon killed again and again, servers that stop."""

import time
from pathlib import Path

import pytest

from tests.chaos_rig import SYMBOLS, Havoc, Market, chaos_rig
from tests.stack import eventually

# Under five minutes on two idle cores; a daemon's start takes ten times as long on busy ones.
pytestmark = [pytest.mark.first, pytest.mark.e2e, pytest.mark.servers, pytest.mark.timeout(1_200)]

MIDNIGHT = 1_772_409_600_000  # 2026-03-02
MINUTE = 60_000
HOUR = 60 * MINUTE
FAULTS = {
    "seed": 5,
    "disconnect": {"every_s": 30},
    "silence": {"every_s": 40, "for_s": 3},
    "half_open": {"every_s": 60, "for_s": 60},
    "notice": {"every_s": 30, "for_s": 2},
    "duplicate": 0.02,
    "reorder": 0.02,
    "gap": 0.02,
    "garbage": 0.01,
    "unpushed": 0.0005,
    "late": {"share": 0.0002, "by_s": 1.5},
    "rest_lag_s": 0.2,
    "late_candle": {"share": 0.05, "by_s": 2},
    "revised_candle": {"share": 0.05, "by_s": 4},
    "clock": {"ahead_s": 0.1, "drift_s": 0.15, "every_s": 20},
    "http_429": 0.03,
    "http_500": 0.01,
    "script": [
        {"at_s": 6 * 3600, "fault": "disconnect"},
        {"at_s": 9 * 3600, "fault": "silence", "for_s": 1800},
        {"at_s": 12 * 3600, "fault": "half_open"},
        {"at_s": 15 * 3600, "fault": "notice", "for_s": 900},
        {"at_s": 18 * 3600, "fault": "http_500", "for_s": 900},
        {"at_s": 20 * 3600, "fault": "http_429", "for_s": 900},
    ],
}
MARKET = Market(
    seed=20261121,
    activity=2.2,
    speed=460,
    start_ms=MIDNIGHT - 75 * MINUTE,
    end_ms=MIDNIGHT + 24 * HOUR + 7 * MINUTE + 30_000,
    faults=FAULTS,
)
HAVOC = Havoc(seed=7, kills=20, stops=5)
FIRST_CANDLES_S = 30
SETTLE_S = 300


def test_what_is_stored_is_what_was_emitted_whatever_goes_wrong(tmp_path: Path) -> None:
    """Candles of all timeframes equal an SQL aggregation of what the exchange emitted, to the last digit and
    count; every trade id is stored once; no hole is open."""
    with chaos_rig(MARKET, tmp_path) as rig:
        eventually(
            lambda: rig.emitted.note_begin() == len(SYMBOLS), FIRST_CANDLES_S, "candles of every symbol"
        )
        ends = rig.began + MARKET.wall_s
        HAVOC.wreak(rig)
        time.sleep(max(0.0, ends - time.monotonic()))
        faults, compared = rig.settled(SETTLE_S)
        assert not faults, "\n".join(faults[:60])
        assert rig.trades >= compared["trades"] >= 300_000
        assert compared["1d"] >= 5 and compared["4h"] >= 25 and compared["1m"] >= 5 * 24 * 60
        assert rig.daemon.exits.count(-9) == HAVOC.kills
        assert rig.daemon.stop() == 0
