"""Parity of a bot whose history retention has thinned."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from sqlalchemy import Engine, text

from core.errors import BadInput
from live.bots.bot import Bot
from pipelines.backtest.live_parity import check_bot
from pipelines.backtest.result import iso
from pipelines.clock import SystemClock
from pipelines.warehouse.bots import find_bot, set_status
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import beat
from pipelines.warehouse.retention import thin_signals, thin_snapshots
from pipelines.warehouse.sql import to_datetime
from tests import bot_bench as bench

pytestmark = pytest.mark.servers
CANDLES = bench.walk(600, seed=3)
BEGINS, STOPS = 150, 400


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database."""
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


def _live(engine: Engine, begin: int, end: int) -> None:
    """Let the bot judge the candles from one number to another, both included."""
    bench.store(engine, CANDLES[: end + 1])
    beat(engine, "live", 0, CANDLES[begin].close_ms + 1, {})
    bot = Bot(find_bot(engine, "alpha"), engine, SystemClock(), lambda message: None)
    while bench.last_candle_ms(engine, "alpha") != CANDLES[end].close_ms:
        bot.catch_up()


def _prune(engine: Engine, until: datetime) -> int:
    """What `tcp data prune` does to the bot; returns how many holds went."""
    bot, begin = find_bot(engine, "alpha").id, to_datetime(0)
    with engine.begin() as connection:
        thin_snapshots(connection, bot, begin, until)
        return thin_signals(connection, bot, begin, until)


def test_pruned_holds_are_no_missing_signals(engine: Engine) -> None:
    """Holds of which a sale in time follows stay where those around them are dropped, and of a bot that
    stopped long ago no other is left: none of it is a difference, what really differs still is."""
    bench.add_bot(engine, "alpha", risk={"max_candles": 4, "stop_loss": 0.004})
    _live(engine, BEGINS, STOPS)
    set_status(engine, "alpha", "stopped")
    url = str(engine.url.render_as_string(hide_password=False))
    whole = check_bot(url, "alpha")
    assert whole.differences == [] and whole.fills > 20

    assert _prune(engine, to_datetime(CANDLES[(BEGINS + STOPS) // 2].close_ms)) > 50
    assert check_bot(url, "alpha").differences == []
    assert _prune(engine, to_datetime(CANDLES[-1].close_ms)) > 50
    kept = "SELECT count(*) FROM signals WHERE signal_type = 'hold'"
    assert bench.scalar(engine, kept) == bench.scalar(
        engine, "SELECT count(*) FROM orders WHERE reason = 'time'"
    )
    assert bench.scalar(engine, kept) > 3
    report = check_bot(url, "alpha")
    assert report.differences == []
    assert (report.fills, report.end) == (whole.fills, iso(to_datetime(CANDLES[STOPS].close_ms)))

    set_status(engine, "alpha", "active")
    _live(engine, STOPS + 50, len(CANDLES) - 1)
    again = check_bot(url, "alpha")
    assert again.differences == []
    assert (again.interruptions, again.end) == (1, iso(to_datetime(CANDLES[-1].close_ms)))
    with engine.begin() as connection:
        lost = "DELETE FROM signals WHERE timestamp = :at"
        assert connection.execute(text(lost), {"at": to_datetime(CANDLES[-9].close_ms)}).rowcount == 1
    assert [found.what for found in check_bot(url, "alpha").differences] == ["signal_type"]


def test_a_stretch_without_a_kept_balance_is_refused(engine: Engine) -> None:
    """Nothing tells what the account had then: the error says so; one that ends later is compared."""
    bench.add_bot(engine, "alpha")
    _live(engine, BEGINS, STOPS)
    url, gone = str(engine.url.render_as_string(hide_password=False)), CANDLES[STOPS - 50].close_ms
    with engine.begin() as connection:
        lost = "DELETE FROM bot_performance WHERE timestamp <= :at"
        assert connection.execute(text(lost), {"at": to_datetime(gone)}).rowcount > 100
    with pytest.raises(BadInput, match=r"--to: no balance of alpha up to .* is kept"):
        check_bot(url, "alpha", end_ms=gone)
    assert check_bot(url, "alpha").differences == []
