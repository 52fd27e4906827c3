"""Parity of a bot whose configuration changed."""

import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cli.parity import _shown
from core.bot_states import Actual
from core.candles import Candle
from core.errors import BadInput
from live.bots.bot import Bot
from pipelines.backtest.live_parity import check_bot
from pipelines.clock import SystemClock
from pipelines.warehouse.bot_starts import read_configurations
from pipelines.warehouse.bot_versions import note_applied
from pipelines.warehouse.bots import find_bot, record_state, set_status
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import beat
from tests import bot_bench as bench

pytestmark = pytest.mark.servers
HISTORY = 150
Lives = Callable[[int], Awaitable[None]]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database."""
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


def _url(engine: Engine) -> str:
    return str(engine.url.render_as_string(hide_password=False))


@pytest.fixture
def lives(engine: Engine, redis_url: str, tmp_path: Path) -> Iterator[Lives]:
    """Lets the process of bot `alpha` judge candles that are stored, and then stops it."""
    running: list[subprocess.Popen[bytes]] = []

    async def lives(until_ms: int) -> None:
        set_status(engine, "alpha", "active")
        process = bench.start_runner("alpha", _url(engine), redis_url, tmp_path / "log")
        running.append(process)
        await bench.until(lambda: bench.last_candle_ms(engine, "alpha") == until_ms, "all is judged")
        set_status(engine, "alpha", "stopped")
        await bench.until(lambda: process.poll() is not None, "the process ended")
        record_state(engine, find_bot(engine, "alpha").id, Actual.STOPPED)  # as the supervisor does

    yield lives
    for process in running:
        process.kill()
        process.wait()


async def test_a_bot_that_was_stopped_for_a_change_is_compared_from_there_on(
    engine: Engine, lives: Lives
) -> None:
    """Stopped, given other parameters, started: what was before is the former configuration's, and neither is
    compared with the other."""
    candles = bench.walk(HISTORY + 200)
    first, second = candles[HISTORY + 79].close_ms, candles[-1].close_ms
    bench.add_bot(engine, "alpha")
    bench.store(engine, candles[: HISTORY + 80])
    beat(engine, "live", 0, candles[HISTORY - 1].close_ms + 1, {})
    await lives(first)
    bench.add_bot(engine, "alpha", parameters={"fast_period": 2, "slow_period": 6})
    bench.store(engine, candles[: HISTORY + 100])
    beat(engine, "live", 0, candles[HISTORY + 99].close_ms + 1, {})
    bench.store(engine, candles)
    await lives(second)
    former, newer = read_configurations(engine, find_bot(engine, "alpha"))
    assert former.after_candle is None and former.document["parameters"]["fast_period"] == 3
    assert newer.after_candle is not None and newer.document["parameters"]["fast_period"] == 2
    report = check_bot(_url(engine), "alpha")
    assert report.differences == []
    assert report.changed is not None and report.fills > 2
    before = check_bot(_url(engine), "alpha", end_ms=first)
    assert before.differences == [] and before.changed is None and before.candles == 81


def _judge(engine: Engine, candles: list[Candle], begin: int) -> None:
    """Let bot `alpha` judge the candles, from that one on, in this process."""
    bench.store(engine, candles)
    beat(engine, "live", 0, candles[begin].close_ms + 1, {})
    bot = Bot(find_bot(engine, "alpha"), engine, SystemClock(), lambda message: None)
    while bench.last_candle_ms(engine, "alpha") != candles[-1].close_ms:
        bot.catch_up()


@pytest.mark.parametrize(
    ("seed", "risk", "fee"),
    [
        (8, {"max_drawdown": 0.03}, 0.001),
        (8, {"max_daily_loss": 0.003}, 0.0),
        (5, {"max_daily_loss": 0.004}, 0.0),
        (8, {"max_daily_loss": 0.02, "halt_until_reset": True}, 0.001),
        (8, {"max_consecutive_losses": 12, "cooldown_minutes": 30}, 0.001),
        (8, {"max_orders_per_day": 40}, 0.0),
    ],
    ids=["drawdown", "day", "day with a profit", "halt", "losses", "orders"],
)
def test_limits_remember_what_was_before_a_change(
    engine: Engine, seed: int, risk: dict[str, float], fee: float
) -> None:
    """A limit that bites, or does not, by what a former configuration lost and did is no difference."""
    candles = bench.walk(HISTORY + 500, seed=seed)
    bench.add_bot(engine, "alpha", fee=fee, risk={"max_orders_per_day": 1000})
    _judge(engine, candles[: HISTORY + 250], HISTORY)
    bench.add_bot(engine, "alpha", fee=fee, risk=risk)
    note_applied(engine, find_bot(engine, "alpha").id, 2)
    _judge(engine, candles, HISTORY + 250)
    report = check_bot(_url(engine), "alpha")
    assert report.differences == []
    assert report.changed is not None
    assert report.remembered > 0 if seed != 5 else report.fills > 20
    assert report.unjudged == (("max_daily_loss",) if "max_daily_loss" in risk else ())
    assert ("max_daily_loss is not judged" in _shown(report)) == ("max_daily_loss" in risk)


def test_what_decides_nothing_is_no_change(engine: Engine) -> None:
    """Disabled, given other parameters, given the old ones and enabled: the whole life is one comparison,
    though the bot holds what it bought before."""
    candles = bench.walk(HISTORY + 90)
    document = {"strategy": "buy_and_hold", "parameters": {}}
    bench.add_bot(engine, "alpha", **document)
    _judge(engine, candles[: HISTORY + 40], HISTORY)
    bench.add_bot(engine, "alpha", enabled=False, **document)
    bench.add_bot(engine, "alpha", enabled=False)
    bench.add_bot(engine, "alpha", **document)
    note_applied(engine, find_bot(engine, "alpha").id, 4)
    _judge(engine, candles, HISTORY + 60)
    report = check_bot(_url(engine), "alpha")
    assert report.differences == [] and report.changed is None
    assert (report.interruptions, report.fills, report.candles) == (1, 1, 90 - 20)


def test_fees_that_follow_what_was_traded_before_are_refused(engine: Engine) -> None:
    """The days of a fee tier reach back over the change: what was before is compared, not what is since."""
    candles = bench.walk(HISTORY + 160)
    tiers = [{"traded": 0, "maker": 0.001, "taker": 0.001}, {"traded": 50_000, "maker": 0, "taker": 0.0005}]
    execution = {"intrabar": "candle", "fee_tiers": tiers}
    bench.add_bot(engine, "alpha", execution=execution)
    _judge(engine, candles[: HISTORY + 80], HISTORY)
    bench.add_bot(engine, "alpha", execution=execution, parameters={"fast_period": 2, "slow_period": 6})
    note_applied(engine, find_bot(engine, "alpha").id, 2)
    _judge(engine, candles, HISTORY + 80)
    with pytest.raises(BadInput, match="fees follow what was traded in the 30 days before"):
        check_bot(_url(engine), "alpha")
    assert check_bot(_url(engine), "alpha", end_ms=candles[HISTORY + 79].close_ms).differences == []


def test_without_any_trade_a_replay_waits_as_the_bot_does(engine: Engine) -> None:
    """Nobody traded in all of a bot's life: its order waits, and so does that of the replay."""
    bench.add_bot(engine, "alpha", strategy="buy_and_hold", parameters={}, risk={"max_silent_candles": 100})
    _judge(engine, bench.walk(HISTORY + 20, empty=1.0), HISTORY)
    report = check_bot(_url(engine), "alpha")
    assert report.signals["buy"] > 0
    assert report.differences == [] and report.fills == 0
