"""What the market page draws of what is stored, on a real PostgreSQL: whatever timeframes there are."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from sqlalchemy import text

from config.files import BotFile
from core.clock import ManualClock
from core.timeframes import Timeframe
from dashboards.candles import candles_between
from dashboards.charts import MOST_FILLS, live_chart
from dashboards.feed import Feed
from dashboards.hub import Hub, Watch
from dashboards.market import market_chart, newest_trades
from dashboards.pages.market import trade_lines
from dashboards.queries.candles import spans
from dashboards.results import picture
from pipelines.bus.memory import MemoryBus
from pipelines.warehouse.bots import save_bot
from pipelines.warehouse.candles import read_candles
from pipelines.warehouse.database import engine
from pipelines.warehouse.trade_days import ensure_partitions
from strategies.columns import resample
from tests.waiting import until

pytestmark = pytest.mark.servers

DAY_MS = 86_400_000
NOW = datetime(2026, 3, 2, 12, 7, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)
WALK = """
    INSERT INTO market_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume,
                             trades_count, source)
    SELECT :exchange, 'BTC-USDT', :timeframe,
           cast(:last as timestamptz) - n * make_interval(secs => :seconds), :price + n % 17,
           :price + 20 + n % 23, :price - 20 - n % 19, :price + n % 13, 1 + n % 7, 9, 'exchange'
    FROM generate_series(0, :count - 1) AS n
"""
MINUTES_DAYS = 20
FILLS = """
    INSERT INTO trades (id, bot_id, timestamp, side, price, quantity, fees, balance_after)
    SELECT 'bot_001:' || n, (SELECT id FROM bots WHERE name = 'bot_001'),
           cast(:last as timestamptz) - (:count - n) * interval '1 second', 'buy', 60000, 0.1, 1, 0
    FROM generate_series(1, :count) AS n
"""

CHEAP_TRADE = """
    INSERT INTO raw_trades (exchange, symbol, trade_id, timestamp, price, size, side, source)
    VALUES ('okx', 'PEPE-USDT', 1, :at, 0.00001234, 1, 'buy', 'websocket')
"""
CHEAP_INSTRUMENT = """
    INSERT INTO instruments (exchange, symbol, base, quote, tick_size, lot_size, min_size, state)
    VALUES ('okx', 'PEPE-USDT', 'PEPE', 'USDT', 0.0000000001, 1, 1, 'live') ON CONFLICT DO NOTHING
"""


@pytest.fixture
def database(database_url):
    """Twenty days of minutes."""
    found = engine(database_url)
    store(found, Timeframe.M1, MINUTES_DAYS * 1440)
    yield found
    found.dispose()
    engine.cache_clear()


def store(database, frame, count, end_ms=NOW_MS, exchange="okx", price=60_000):
    """Store so many candles, the last one that is over at `end_ms`."""
    last = datetime.fromtimestamp(frame.open_ms(end_ms) / 1000, UTC)
    values = {"timeframe": frame.value, "last": last, "seconds": frame.ms // 1000, "count": count}
    with database.begin() as connection:
        connection.execute(text(WALK), values | {"exchange": exchange, "price": price})


def chart(database, days, ago=0.0):
    """(timeframe drawn, close times of its candles, meta) of a stretch that ends `ago` days ago."""
    end = NOW_MS - ago * DAY_MS
    drawn = market_chart(
        database, "BTC-USDT", Timeframe.M1, ["sma 20"], (end - days * DAY_MS, end), "dark", NOW
    )
    return drawn.meta["frame"], drawn.figure["data"][0]["x"], drawn.meta


@pytest.mark.parametrize(("days", "frame"), [(0.25, "1m"), (1, "5m"), (7, "15m"), (30, "1h"), (730, "1d")])
def test_minutes_alone_are_drawn_in_any_stretch(database, days, frame):
    """An import of one timeframe is seen whole, from its first candle on, and no pan asks for more."""
    drawn, times, meta = chart(database, days)
    assert drawn == frame
    length = Timeframe(frame).ms
    assert times[-1] == -(-NOW_MS // length) * length
    assert times[0] - length <= max(NOW_MS - 1.25 * days * DAY_MS, meta["first"])
    assert {later - earlier for earlier, later in pairwise(times)} == {length}
    assert meta["newest"] and meta["candle"]["t"] == times[-1]
    assert meta["over"] == Timeframe(frame).open_ms(NOW_MS)
    assert (meta["from"] <= meta["first"]) == (days > MINUTES_DAYS / 1.25)


def test_the_newest_are_drawn_in_a_timeframe_that_is_not_stored(database):
    """Without a view: they are made of shorter ones, and where there are none longer ones are drawn."""
    drawn = market_chart(database, "BTC-USDT", Timeframe.H1, [], None, "dark", NOW)
    assert (drawn.meta["frame"], drawn.meta["newest"]) == ("1h", True)
    assert len(drawn.figure["data"][0]["x"]) == MINUTES_DAYS * 24 + 1
    with database.begin() as connection:
        connection.execute(text("DELETE FROM market_data"))
    store(database, Timeframe.D1, 30)
    drawn = market_chart(database, "BTC-USDT", Timeframe.M1, [], None, "dark", NOW)
    assert drawn.meta["frame"] == "1d"
    nothing = market_chart(database, "ETH-USDT", Timeframe.M1, [], None, "dark", NOW)
    assert (nothing.figure, nothing.meta) == (None, None)


def test_made_candles_are_those_of_the_minutes(database):
    """Open, high, low, close and volume of each, whatever it is made of; the last is of what there is."""
    made = candles_between(
        database, "BTC-USDT", Timeframe.H1, 0, NOW_MS + DAY_MS, spans(database, "BTC-USDT")
    )
    minutes = read_candles(database, "BTC-USDT", "1m")
    wanted = resample(minutes, Timeframe.H1, Timeframe.M1)
    assert made.slice(1, wanted.height).equals(wanted.cast(made.schema))
    running = minutes.filter(pl.col("timestamp") > NOW - timedelta(minutes=7))
    assert made.row(-1)[1:] == (
        running["open"][0],
        running["high"].max(),
        running["low"].min(),
        running["close"][-1],
        running["volume"].sum(),
    )


def test_three_hundred_of_each_longer_one_hide_nothing(database):
    """What a stock install stores: the wanted timeframe is made of minutes as far as those go, and beyond
    them the shortest longer one is drawn that reaches further."""
    for frame in Timeframe:
        if frame is not Timeframe.M1:
            store(database, frame, 300)
    found = {days: chart(database, days) for days in (7, 30, 91, 365, 730)}
    assert [frame for frame, _, _ in found.values()] == ["15m", "4h", "1d", "1d", "1d"]
    assert found[7][1][0] <= NOW_MS - 7 * DAY_MS
    assert found[30][1][0] <= NOW_MS - 30 * DAY_MS
    assert found[730][1][0] == Timeframe.D1.open_ms(NOW_MS) - 299 * DAY_MS
    assert found[730][2]["from"] <= found[730][2]["first"]
    frame, times, _ = chart(database, 7, ago=12)
    assert frame == "15m"
    assert len([time for time in times if NOW_MS - 19 * DAY_MS < time <= NOW_MS - 12 * DAY_MS]) == 672


def test_an_old_block_of_minutes_alone_does_not_stand_for_what_lies_between(database):
    """A month of another year, fetched beside a stock install: the timeframe drawn is one that has candles in
    the whole view, not one whose minutes begin before it."""
    store(database, Timeframe.M1, 30 * 1440, NOW_MS - 400 * DAY_MS)
    for frame in Timeframe:
        if frame is not Timeframe.M1:
            store(database, frame, 300)
    found = {days: chart(database, days) for days in (7, 30, 91)}
    assert [frame for frame, _, _ in found.values()] == ["15m", "4h", "1d"]
    for days, (_, times, _) in found.items():
        assert times[0] <= NOW_MS - days * DAY_MS
    frame, times, _ = chart(database, 7, ago=410)
    assert frame == "15m"
    assert len(times) > 7 * 96


def test_the_first_hours_of_a_store_are_not_drawn_as_a_day(database):
    """A day that has just begun is wider than what is stored of it, and stands for no more."""
    with database.begin() as connection:
        connection.execute(
            text("DELETE FROM market_data WHERE timestamp < :at"), {"at": NOW - timedelta(hours=4)}
        )
    assert chart(database, 7, ago=-0.745)[0] == "15m"


def test_a_hole_in_one_timeframe_is_filled_from_a_shorter_one(database):
    """A block of another year, fetched in one timeframe, does not blank what lies between in minutes."""
    store(database, Timeframe.H1, 300, NOW_MS - 400 * DAY_MS)
    store(database, Timeframe.H1, 24)
    _, times, _ = chart(database, 18)
    assert len([time for time in times if time > NOW_MS - 18 * DAY_MS]) == 18 * 24 + 1


def test_a_run_is_drawn_on_the_candles_of_its_exchange(database):
    """An imported series of the same symbol has other prices; candles are made of its own minutes too."""
    store(database, Timeframe.M1, 8_000, exchange="kraken", price=30_000)
    run = {"symbol": "BTC-USDT", "timeframe": "1m", "start_time": NOW - timedelta(days=5), "end_time": NOW}
    for exchange, low, high in ((None, 59_900, 60_100), ("okx", 59_900, 60_100), ("kraken", 29_900, 30_100)):
        frame, candles = picture(database, run | {"exchange": exchange})
        assert (frame, candles.height) == (Timeframe.M5, 5 * 288)
        assert low < candles["low"].min() < candles["high"].max() < high


def test_of_too_many_fills_the_newest_are_marked_and_it_is_said(database):
    """What an active bot did last is what its reader looks for."""
    document = {"bot_id": "bot_001", "strategy": "buy_and_hold", "symbol": "BTC-USDT", "timeframe": "1m"}
    save_bot(database, BotFile.model_validate(document | {"virtual_balance": 1000}), "bots/bot_001.json")
    with database.begin() as connection:
        connection.execute(text(FILLS), {"last": NOW, "count": MOST_FILLS + 3})
    drawn = live_chart(database, "bot_001", None, "dark", NOW)
    buys = next(trace for trace in drawn.figure["data"] if trace["meta"]["kind"] == "buy")
    assert buys["customdata"] == [f"bot_001:{n}" for n in range(4, MOST_FILLS + 4)]
    assert drawn.meta["note"] == "the last 5,000 trades are marked"


def test_trades_of_a_cheap_coin_have_its_decimals_without_a_chart(database):
    """The list comes before the chart is drawn: its prices have as many as they need, those of the instrument
    where it is known."""
    with database.begin() as connection:
        ensure_partitions(connection, NOW_MS, NOW_MS)
        connection.execute(text(CHEAP_TRADE), {"at": NOW})
    for prices in ("▲ 0.00001234", "▲ 0.0000123400"):
        lines = trade_lines(*newest_trades(database, "PEPE-USDT", NOW - timedelta(hours=6)))
        assert lines[1].children[0].children == prices
        with database.begin() as connection:
            connection.execute(text(CHEAP_INSTRUMENT))


async def test_what_a_day_ago_was_goes_on_while_a_page_is_open(database):
    """The price that the change of 24 hours is measured by is read again as the clock goes on, of the symbols
    that somebody looks at."""
    clock = ManualClock(NOW_MS)
    hub = Hub(database, MemoryBus(), Feed("okx"), clock)
    with hub.listening("mine"):
        hub.watch("mine", Watch(None, "BTC-USDT", "1m"))
        running = asyncio.create_task(hub.run())
        await until(lambda: hub.references == {"BTC-USDT": 60_000 + 1_440 % 13})
        clock.set(NOW_MS + 20 * Timeframe.H1.ms)
        hub.refresh_soon()
        await until(lambda: hub.references == {"BTC-USDT": 60_000 + 240 % 13})
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
