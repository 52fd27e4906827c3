"""The kill test: whatever is killed, the bots' records are those of a run that nothing disturbed."""

from pathlib import Path

import pytest

from tests import bot_bench as bench
from tests.chaos_rig import Market
from tests.kill_rig import BotHavoc, faults_of, kill_rig, settled

# Under four minutes on two idle cores.
pytestmark = [pytest.mark.e2e, pytest.mark.servers, pytest.mark.timeout(1_200)]

MIDNIGHT = 1_772_409_600_000  # 2026-03-02
MINUTE = 60_000
MARKET = Market(
    seed=20261121,
    activity=0.5,
    speed=120,
    start_ms=MIDNIGHT - 200 * MINUTE,
    end_ms=MIDNIGHT + 160 * MINUTE + 5_000,
)
HAVOC = BotHavoc(seed=11, bots=88, daemons=10, nurseries=2, stops=5)
SETTLE_S = 300
_RESTED = "SELECT count(*) FROM orders WHERE order_type = :kind AND status <> 'rejected'"


def test_every_decision_is_on_record_exactly_once_whatever_is_killed(tmp_path: Path) -> None:
    """A hundred kills of bots and daemon, five stops of each server: every final candle has one signal of
    each bot, every order and fill exists once, accounts add up to the last digit, and all rows equal those of
    undisturbed bots on the same candles."""
    with kill_rig(MARKET, tmp_path) as rig:
        HAVOC.wreak(rig)
        settled(rig, SETTLE_S)
        assert rig.daemon.exits.count(-9) == HAVOC.daemons
        assert rig.daemon.stop() == 0
        faults = faults_of(rig)
        assert not faults, "\n".join(faults[:60])
        assert bench.scalar(rig.engine, "SELECT count(*) FROM trades") > 500
        for kind in ("limit", "stop", "trailing_stop"):  # orders that rested
            assert bench.scalar(rig.engine, _RESTED, kind=kind) > 5, kind
        assert bench.scalar(rig.engine, "SELECT count(*) FROM bots WHERE status <> 'active'") == 0
