"""The log of a bot tells the same story as its tables, under the same id."""

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from live.bots.bot import Bot
from live.bots.messages import MarketUpdate
from pipelines.clock import SystemClock
from pipelines.warehouse.bots import find_bot
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import beat
from tests import bot_bench as bench

pytestmark = pytest.mark.servers

ROWS = """
    SELECT t.id, t.order_id, t.signal_id, o.signal_id, s.signal_type,
           (extract(epoch FROM s.timestamp) * 1000)::bigint
    FROM trades t JOIN orders o ON o.id = t.order_id JOIN signals s ON s.id = o.signal_id ORDER BY t.timestamp
"""


def test_one_id_leads_from_the_candle_to_signal_order_and_fill(database_url):
    """Each fill in the database is in the log, with the order and the signal it came of, and the candle whose
    trades decided it."""
    engine = engine_of(database_url)
    candles = bench.walk(90)
    parameters = {"fast_period": 2, "slow_period": 3}
    bench.add_bot(engine, "bot_x", strategy="ema_crossover", parameters=parameters)
    bench.store(engine, candles[:30])
    beat(engine, "live", SystemClock().now_ms(), candles[29].close_ms + 1, {})
    bot = Bot(find_bot(engine, "bot_x"), engine, SystemClock(), lambda message: None)
    with capture_logs() as lines:
        bot.catch_up()
        for candle in candles[30:]:
            bench.store(engine, [candle])
            bot.on_update(MarketUpdate(candle, None))
    said = {
        event: [line for line in lines if line["event"] == event] for event in ("signal", "order", "fill")
    }
    with engine.connect() as connection:
        rows = connection.execute(text(ROWS)).all()
    assert len(rows) >= 4
    for trade_id, order_id, trade_signal, signal_id, kind, candle_ms in rows:
        assert trade_signal == signal_id
        (fill,) = [line for line in said["fill"] if line["trade_id"] == trade_id]
        assert (fill["order_id"], fill["correlation_id"]) == (order_id, signal_id)
        assert any((o["order_id"], o["correlation_id"]) == (order_id, signal_id) for o in said["order"])
        (signal,) = [line for line in said["signal"] if line["correlation_id"] == signal_id]
        assert (signal["side"], signal["candle_ms"]) == (kind, candle_ms)
    assert not any(line["side"] == "hold" for line in said["signal"])
