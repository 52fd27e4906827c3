"""Candles that never come: a bot waits for them, and then says that it goes on without."""

import pytest

from live.bots.bot import HOLE_PATIENCE_MS, Bot
from pipelines.warehouse.bots import find_bot
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import beat
from tests import bot_bench as bench

pytestmark = pytest.mark.servers


class Watch:
    """A clock that stands still until it is set."""

    time_ms = 0

    def now_ms(self) -> int:
        """Wall time."""
        return self.time_ms


def test_candles_that_are_passed_over_are_told(database_url: str) -> None:
    """Not before the bot has waited for them, and with their number and the time of the last one before."""
    engine, clock, candles = engine_of(database_url), Watch(), bench.walk(153)
    bench.add_bot(engine, "alpha")
    bench.store(engine, candles[:150])
    beat(engine, "live", 0, candles[149].close_ms + 1, {})
    bot = Bot(find_bot(engine, "alpha"), engine, clock, lambda message: None)
    bot.catch_up()
    assert bot.account.last_candle_ms == candles[149].close_ms
    bench.store(engine, candles[152:])
    told = "SELECT array_agg(message) FROM system_events WHERE event = 'candles_passed_over'"
    bot.catch_up()
    assert bench.scalar(engine, told) is None and bot.account.last_candle_ms == candles[149].close_ms
    clock.time_ms = HOLE_PATIENCE_MS
    bot.catch_up()
    assert bot.account.last_candle_ms == candles[152].close_ms
    assert bench.scalar(engine, told) == ["bot alpha passes over 2 candles after 2025-10-09 11:24 UTC"]
    engine.dispose()
