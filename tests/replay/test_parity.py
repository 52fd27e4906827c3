"""The promise of the product on a recorded stretch: what the live engine stored is what a backtest says."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine, text

from config.settings import PROJECT_ROOT
from core.candles import Candle
from core.errors import BadInput
from core.timeframes import Timeframe
from live.bots.bot import Bot
from pipelines.backtest.all_parity import check_bots
from pipelines.backtest.live_parity import check_bot
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.clock import SystemClock
from pipelines.warehouse.bot_history import last_judged_ms
from pipelines.warehouse.bot_versions import note_applied
from pipelines.warehouse.bots import find_bot, set_status
from pipelines.warehouse.candles import read_candles
from pipelines.warehouse.controls import set_kill_switch
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import beat
from pipelines.warehouse.kill_switch import switch
from strategies import registry
from tests import bot_bench as bench
from tests.property.test_signals import SMALL

pytestmark = [pytest.mark.servers, pytest.mark.real_data]
HISTORY, LIVE = 900, 300


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database."""
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> list[Candle]:
    """Twenty recorded hours of Binance's BTCUSDT, exact to the last digit."""
    frame = pl.read_csv(shared_data / "candles" / "btcusdt_1m.csv", infer_schema_length=0)
    rows = frame.head(HISTORY + LIVE).iter_rows(named=True)
    return [
        Candle(
            "BTC-USDT",
            Timeframe.M1,
            int(row["timestamp"]) + 60_000,
            *(Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")),
        )
        for row in rows
    ]


def live(engine: Engine, name: str, candles: list[Candle], begin: int = HISTORY) -> None:
    """Let the bot judge the candles as its process does, one transaction each."""
    beat(engine, "live", 0, candles[begin - 1].close_ms + 1, {})
    bot = Bot(find_bot(engine, name), engine, SystemClock(), lambda message: None)
    while bench.last_candle_ms(engine, name) != candles[-1].close_ms:
        bot.catch_up()


def a_bot(engine: Engine, name: str, **changes: Any) -> None:
    """A bot of that strategy with short periods."""
    bench.add_bot(engine, name, **{"strategy": name, "parameters": SMALL[name]} | changes)


@pytest.mark.parametrize("name", registry.shipped())
def test_every_strategy_trades_live_as_in_a_backtest(engine, recorded, name: str) -> None:
    """300 recorded minutes through the bot and its ledger: every signal with its confidence and indicators,
    every fill, every balance is the replay's, and the final balance is that of `tcp backtest`."""
    a_bot(engine, name, slippage=0.0002)
    bench.store(engine, recorded)
    live(engine, name, recorded)
    report = check_bot(_url(engine), name)
    assert report.differences == []
    assert report.candles == LIVE + 1
    assert report.fills > 4 or name in ("buy_and_hold", "volatility_target")
    assert report.fills > 0
    frame = read_candles(engine, "BTC-USDT", "1m")
    request = BacktestRequest(
        strategy=name,
        parameters=SMALL[name],
        symbol="BTC-USDT",
        timeframe="1m",
        slippage=0.0002,
        start=frame["timestamp"][HISTORY - 1],
    )
    backtest = execute(request, candles=frame)
    assert report.live_balance == pytest.approx(backtest.final_value, rel=1e-6)


@pytest.mark.parametrize(
    ("risk", "exits"),
    [
        ({"stop_loss": 0.0011, "take_profit": 0.0002}, {"stop", "take_profit"}),
        ({"stop_loss": 0.0011, "max_daily_loss": 0.003, "max_position_fraction": 0.4}, {"stop"}),
        ({"stop_loss": 0.0011, "max_drawdown": 0.002}, {"stop"}),
        ({"stop_loss": 0.0011, "sizing": "volatility", "size": 0.2, "volatility_candles": 400}, {"stop"}),
    ],
    ids=["stops", "part of the account", "drawdown", "volatility"],
)
def test_limits_bite_at_the_same_candles(engine, recorded, risk: dict[str, float], exits: set[str]) -> None:
    """Stops, profits and loss limits of a bot are those of the replay."""
    a_bot(engine, "ema_crossover", risk=risk, fee=0.0001 if "take_profit" in risk else 0.001)
    bench.store(engine, recorded)
    live(engine, "ema_crossover", recorded)
    report = check_bot(_url(engine), "ema_crossover")
    assert report.differences == []
    with engine.connect() as connection:
        kinds = connection.execute(text("SELECT DISTINCT order_type FROM orders WHERE status = 'filled'"))
        assert {kind for (kind,) in kinds} >= exits


def _url(engine: Engine) -> str:
    return str(engine.url.render_as_string(hide_password=False))


@pytest.fixture
def played(engine, recorded) -> str:
    """A database with a bot that has lived; its URL."""
    a_bot(engine, "ema_crossover")
    bench.store(engine, recorded)
    live(engine, "ema_crossover", recorded)
    return _url(engine)


def _change(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount == 1


@pytest.mark.parametrize(
    ("statement", "kind", "what"),
    [
        (
            "UPDATE signals SET signal_type = 'hold' WHERE id ="
            " (SELECT min(id) FROM signals WHERE signal_type = 'buy')",
            "signal",
            "signal_type",
        ),
        (
            "UPDATE signals SET indicators = jsonb_set(indicators, '{ema_fast}', '1') WHERE id ="
            " (SELECT max(id) FROM signals)",
            "signal",
            "ema_fast",
        ),
        (
            "UPDATE trades SET price = price * 1.000001 WHERE id = (SELECT min(id) FROM trades)",
            "fill",
            "buy price",
        ),
        ("DELETE FROM trades WHERE id = (SELECT max(id) FROM trades)", "fill", "sell"),
        (
            "UPDATE bot_performance SET total_value = total_value + 0.01 WHERE timestamp ="
            " (SELECT max(timestamp) FROM bot_performance)",
            "balance",
            "total_value",
        ),
        (
            "UPDATE market_data SET close = close + 0.5, high = high + 0.5 WHERE timeframe = '1m' AND"
            " timestamp = (SELECT max(timestamp) FROM signals)",
            "signal",
            "price",
        ),
        (
            "DELETE FROM signals WHERE id = (SELECT id FROM signals WHERE signal_type = 'hold'"
            " ORDER BY timestamp DESC OFFSET 50 LIMIT 1)",
            "signal",
            "signal_type",
        ),
        (
            "DELETE FROM market_data WHERE timeframe = '1m' AND timestamp ="
            " (SELECT timestamp FROM signals ORDER BY timestamp DESC OFFSET 50 LIMIT 1)",
            "signal",
            "signal_type",
        ),
    ],
    ids=[
        "signal",
        "indicator",
        "price",
        "missing fill",
        "balance",
        "revised candle",
        "missing signal",
        "missing candle",
    ],
)
def test_whatever_differs_is_named(engine, played: str, statement: str, kind: str, what: str) -> None:
    """One changed number in the history is found, with its kind, its field and both values."""
    assert check_bot(played, "ema_crossover").passed
    _change(engine, statement)
    report = check_bot(played, "ema_crossover")
    found = [(difference.kind, difference.what) for difference in report.differences]
    assert any(one == kind and other.startswith(what) for one, other in found), found
    assert not report.passed


def test_what_people_did_is_no_difference(engine, recorded) -> None:
    """A stop and a start, and orders that the kill switch withdrew, are taken over and counted."""
    a_bot(engine, "ema_crossover")
    first, second = recorded[: HISTORY + 100], recorded[: HISTORY + 150]
    bench.store(engine, first)
    live(engine, "ema_crossover", first)
    set_kill_switch(engine, True)
    bench.store(engine, second)
    live(engine, "ema_crossover", second)
    set_kill_switch(engine, False)
    set_status(engine, "ema_crossover", "paused")
    bench.store(engine, recorded)
    set_status(engine, "ema_crossover", "active")
    live(engine, "ema_crossover", recorded, begin=HISTORY + 200)
    report = check_bot(_url(engine), "ema_crossover")
    assert report.differences == []
    assert report.interruptions == 1
    assert report.held_up > 0
    assert report.candles == LIVE + 1 - 49


def test_after_a_sale_by_the_kill_switch_what_came_since_is_compared(engine, recorded) -> None:
    """The switch sells what is held in the middle of the history: no candle explains that, and the rest is
    the replay's from there on."""
    a_bot(engine, "ema_crossover")
    held = 0
    while find_bot(engine, "ema_crossover").quantity < Decimal("0.0001"):
        held += 10
        bench.store(engine, recorded[: HISTORY + held])
        live(engine, "ema_crossover", recorded[: HISTORY + held])
    assert switch(engine, True, "test", flatten=True).sold == ("ema_crossover",)
    switch(engine, False, "test")
    bench.store(engine, recorded)
    live(engine, "ema_crossover", recorded)
    report = check_bot(_url(engine), "ema_crossover")
    assert report.differences == []
    assert 0 < report.candles <= LIVE + 1 - held
    assert report.fills > 2


def test_a_pruned_history_is_still_compared(engine, played: str) -> None:
    """Where retention has dropped holds and snapshots, what is left must still be the replay's."""
    whole = check_bot(played, "ema_crossover")
    half = "timestamp < (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY timestamp) FROM signals)"
    with engine.begin() as connection:
        thinned = "DELETE FROM bot_performance WHERE extract(minute FROM timestamp)::int % 20 <> 0 AND "
        assert connection.execute(text(thinned + half)).rowcount > 100
        assert connection.execute(text(f"DELETE FROM signals WHERE signal_type = 'hold' AND {half}")).rowcount
    report = check_bot(played, "ema_crossover")
    assert report.differences == []
    assert report.fills == whole.fills and report.interruptions == 0
    _change(engine, "UPDATE trades SET price = price * 1.000001 WHERE id = (SELECT min(id) FROM trades)")
    assert not check_bot(played, "ema_crossover").passed


def test_a_part_of_the_history_is_compared_alone(engine, played: str) -> None:
    """--from and --to choose what is compared; the replay begins where the bot began."""
    signals = engine_signals(engine)
    start, end = signals[100], signals[200]
    report = check_bot(played, "ema_crossover", start, end)
    assert report.passed and report.candles == 101
    _change(engine, "UPDATE trades SET price = price * 1.000001 WHERE id = (SELECT min(id) FROM trades)")
    assert check_bot(played, "ema_crossover", start, end).passed
    with pytest.raises(BadInput, match="has no signals"):
        check_bot(played, "ema_crossover", 0, 1)
    with pytest.raises(BadInput, match="'nobody' is not known"):
        check_bot(played, "nobody")


def test_every_bot_is_compared_at_night(engine, played: str) -> None:
    """Each bot that judged in that time is equal, or differs, or is not compared for a reason; the newest
    judged candle, not the wall's clock, says when the night was."""
    a_bot(engine, "rsi_reversion")
    signals = engine_signals(engine)
    assert last_judged_ms(engine) == signals[-1]
    span = (signals[-1] - 3_600_000, signals[-1])
    (equal,) = check_bots(played, *span)
    assert (equal.bot, equal.differs, equal.reason) == ("ema_crossover", False, None)
    assert equal.report is not None
    assert (equal.report.candles, equal.row()["result"]) == (61, "equal")
    assert check_bots(played, 0, signals[0] - 1) == []
    _change(engine, "UPDATE trades SET price = price * 1.001 WHERE id = (SELECT max(id) FROM trades)")
    (wrong,) = check_bots(played, signals[0], signals[-1])
    assert wrong.differs
    assert "price" in wrong.row()["first difference"]
    _change(
        engine,
        "INSERT INTO bot_configs (bot_id, version, document, origin, after_candle) SELECT id, 2,"
        " config || jsonb_build_object('slippage', 0.001), 'cli',"
        " (SELECT max(timestamp) - interval '5 minutes' FROM signals) FROM bots WHERE name = 'ema_crossover'",
    )
    (changed,) = check_bots(played, *span)
    assert changed.report is None and not changed.differs
    assert "changed after 2026-04-20T" in str(changed.reason)


def test_each_configuration_is_compared_on_its_own(engine, recorded) -> None:
    """After a change of its parameters a bot equals a replay with the new ones from the first moment it was
    flat, and one with the old ones up to the change; a stretch over both is refused with the remedy."""
    a_bot(engine, "ema_crossover")
    half = recorded[: HISTORY + 150]
    bench.store(engine, half)
    live(engine, "ema_crossover", half)
    changed_ms = half[-1].close_ms
    row = find_bot(engine, "ema_crossover")
    assert row.config["parameters"] == SMALL["ema_crossover"]
    changed = row.config | {"parameters": {"fast_period": 2, "slow_period": 6}}
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE bots SET config = CAST(:config AS jsonb), config_version = 2"),
            {"config": json.dumps(changed)},
        )
        connection.execute(
            text(
                "INSERT INTO bot_configs (bot_id, version, document, origin) SELECT id, 2, config, 'cli'"
                " FROM bots"
            )
        )
    note_applied(engine, row.id, 2)
    bench.store(engine, recorded)
    live(engine, "ema_crossover", recorded, begin=HISTORY + 150)
    report = check_bot(_url(engine), "ema_crossover")
    assert report.differences == []
    assert report.changed is not None and report.start > report.changed
    assert report.fills > 2
    before = check_bot(_url(engine), "ema_crossover", end_ms=changed_ms)
    assert before.differences == [] and before.changed is None
    assert before.candles == 151
    with pytest.raises(BadInput, match=f"give a later --from, or --to {report.changed}"):
        check_bot(_url(engine), "ema_crossover", changed_ms - 60_000)
    first, last = engine_signals(engine)[0], engine_signals(engine)[-1]
    (night,) = check_bots(_url(engine), first, last)
    assert night.report is None and "changed after" in str(night.reason)
    (later,) = check_bots(_url(engine), last - 600_000, last)
    assert later.report is not None and later.report.passed


def engine_signals(engine: Engine) -> list[int]:
    """Closes of the judged candles, ms."""
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT (extract(epoch FROM timestamp) * 1000)::bigint FROM signals ORDER BY 1")
        )
        return [row[0] for row in found]


def test_the_command_says_it_and_its_exit_code_too(engine, played: str, tmp_path: Path) -> None:
    """`tcp parity` prints a JSON document; exit 0 when all is equal, 1 when not, 2 for an unknown bot."""

    def tcp(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"TCP_DATABASE_URL": played, "TCP_HOME": str(tmp_path)}
        command = [sys.executable, "-m", "cli.main", "parity", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT, env=environment)

    good = tcp("ema_crossover", "--json")
    assert good.returncode == 0, good.stderr
    document = json.loads(good.stdout)
    assert document["passed"] and document["candles"] == LIVE + 1
    _change(engine, "UPDATE trades SET price = price * 1.000001 WHERE id = (SELECT min(id) FROM trades)")
    bad = tcp("ema_crossover")
    assert bad.returncode == 1
    assert "1 differences" in bad.stdout and "fill buy price" in bad.stdout
    unknown = tcp("nobody")
    assert unknown.returncode == 2 and "'nobody' is not known" in unknown.stderr
