"""What the hub keeps, and what each browser is sent from it."""

import asyncio
import random
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import monotonic

import pytest

from core.candle_builder import CandleBuilder
from core.clock import ManualClock
from core.timeframes import Timeframe
from core.trades import Side, Trade
from dashboards.api.operations import health_document
from dashboards.feed import Feed
from dashboards.hub import KEPT_CANDLES, Hub, Series, Watch, candle_point
from dashboards.stream import Cursor
from live.messages import candle_message
from pipelines.bus.memory import MemoryBus
from tests.no_database import no_database

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)


def message(minute, price, final=False, timeframe="1m"):
    """A market message of the candle that closes at that minute of the hour."""
    moment = NOW + timedelta(minutes=minute)
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    return {
        "timeframe": timeframe,
        "timestamp": moment.isoformat().replace("+00:00", "Z"),
        "volume": 1,
        "final": final,
        "published_ms": NOW_MS - 40,
        **prices,
    }


@pytest.fixture
def hub():
    """A hub that is fed by hand; its database is never asked."""
    return Hub(no_database(), MemoryBus(), Feed("sim"), ManualClock(NOW_MS))


def watching(hub, bot="bot_001", timeframe="1m"):
    """A browser that has just drawn the chart."""
    cursor, watch = Cursor(hub), Watch(bot, "BTC-USDT", timeframe)
    assert cursor.chart(watch) is None
    return cursor, watch


def test_a_series_coalesces_but_loses_no_candle():
    """Several changes of one candle are one; a candle that closed in between is still sent."""
    series = Series()
    for n, (time, close) in enumerate([(1, 10.0), (1, 11.0), (2, 12.0), (2, 13.0)]):
        series.add({"t": time, "c": close})
        assert series.sequence == n + 1
    assert series.since(0) == [{"t": 1, "c": 11.0}, {"t": 2, "c": 13.0}]
    assert series.since(3) == [{"t": 2, "c": 13.0}]
    assert series.since(4) == []


def test_a_reader_that_fell_too_far_behind_is_told_so():
    """Memory is bounded: beyond it the browser has to draw anew."""
    series = Series()
    for n in range(KEPT_CANDLES + 5):
        series.add({"t": n, "c": 1.0})
    assert series.since(4) is None
    assert len(series.since(5)) == KEPT_CANDLES


async def test_a_browser_is_sent_its_own_market_only(hub):
    """Candles of the watched symbol and timeframe arrive; others do not."""
    cursor, watch = watching(hub)
    hub.take("market:BTC-USDT", message(1, 100))
    hub.take("market:BTC-USDT", message(5, 100, timeframe="5m"))
    hub.take("market:ETH-USDT", message(1, 7))
    push = cursor.chart(watch)
    assert [candle["c"] for candle in push["candles"]] == [100.0]
    assert cursor.chart(watch) is None
    assert hub.prices == {"BTC-USDT": 100.0, "ETH-USDT": 7.0}


async def test_a_minute_of_the_past_that_is_put_right_is_no_last_price(hub):
    """It is told as any other; bots and gauges keep the price of now, also where none was heard yet. A
    simulation that begins anew goes back by a candle that is not over."""
    hub.take("market:ETH-USDT", message(-60, 5, final=True))
    hub.take("market:BTC-USDT", message(0, 100, final=True))
    hub.take("market:BTC-USDT", message(5, 102, timeframe="5m"))
    hub.take("market:BTC-USDT", message(1, 101))
    for minute in (-60, 0):
        hub.take("market:BTC-USDT", message(minute, 5, final=True))
    assert hub.prices == {"BTC-USDT": 101.0}
    hub.take("market:BTC-USDT", message(1, 103, final=True))
    assert hub.prices == {"BTC-USDT": 103.0}
    hub.take("market:BTC-USDT", message(-600, 90))
    assert hub.prices == {"BTC-USDT": 90.0}


def collected(minutes):
    """(minute candles pushed, the 5m candle as it is then) at each trade of a walk. A minute is over only
    when the next one has begun."""
    chance, builder = random.Random(5), CandleBuilder("BTC-USDT", (Timeframe.M5,), NOW_MS)
    for n in range(minutes * 6):
        at_ms, price = NOW_MS + n * 10_000, Decimal(100 + chance.randint(-9, 9))
        builder.add(Trade("BTC-USDT", n, at_ms, price, Decimal(chance.randint(1, 9)) / 1000, Side.BUY))
        over = builder.close() if n >= 6 and n % 6 == 2 else []
        running = builder.running()
        yield [candle for candle in [*over, *running] if candle.timeframe is Timeframe.M1], running[1]


def test_longer_candles_that_nobody_pushes_grow_with_the_minutes(hub):
    """From the one drawn of what is stored, as the collector makes them of the same trades. One that is
    pushed is left to that, and what was missed is not made up: the chart is drawn anew."""
    key, over, closed, begun = ("BTC-USDT", "5m"), [], set(), False
    cursor, watch = watching(hub, None, "5m")
    for pushed, longer in collected(12):
        for minute in pushed:
            hub.take("market:BTC-USDT", candle_message(minute, NOW_MS))
        over += [minute for minute in pushed if minute.final]
        if not begun and len(over) == 2:
            first, last = over
            prices = {"o": first.open, "h": max(first.high, last.high), "l": min(first.low, last.low)}
            drawn = {"t": longer.close_ms, **prices, "c": last.close, "v": first.volume + last.volume}
            hub.grow(*key, drawn, last.close_ms)
            begun = True
        push = cursor.chart(watch)
        if begun:
            assert push["candles"][-1] == candle_point(candle_message(longer, NOW_MS))
            closed |= {candle["t"] for candle in push["candles"] if candle["final"]}
        else:
            assert push is None
    assert closed == {NOW_MS + 300_000, NOW_MS + 600_000}
    hub.take("bus", {"event": "reconnected"})
    assert cursor.chart(watch)["redraw"] is True
    hub.take("market:BTC-USDT", message(14, 100))
    assert cursor.chart(watch) is None
    hub.grow(*key, drawn, NOW_MS)
    hub.take("market:BTC-USDT", message(15, 100, timeframe="5m"))
    hub.take("market:BTC-USDT", message(14, 200))
    assert cursor.chart(watch)["candles"][-1]["c"] == 100.0


async def test_after_a_reconnection_charts_are_drawn_anew(hub):
    """What was published meanwhile is lost on the bus, so the chart is fetched again, once."""
    cursor, watch = watching(hub)
    hub.take("bus", {"event": "reconnected"})
    assert cursor.chart(watch)["redraw"] is True
    assert cursor.chart(watch) is None


async def test_new_fills_and_indicators_reach_the_browser_once(hub):
    """Markers and indicator values of the watched bot are sent when they are new."""
    cursor, watch = watching(hub)
    hub.fills["bot_001"] = [{"id": "a:1", "t": 1, "side": "buy"}]
    hub.fills["bot_002"] = [{"id": "b:1", "t": 1, "side": "sell"}]
    signal = {"timestamp": "2026-11-20T12:01:00Z", "indicators": {"ema": 3, "rsi": None}}
    hub.take("signals:bot_001", signal)
    push = cursor.chart(watch)
    assert push["fills"] == [{"id": "a:1", "t": 1, "side": "buy"}]
    assert push["indicators"] == {"t": NOW_MS + 60_000, "values": {"ema": 3.0, "rsi": None}}
    assert cursor.chart(watch) is None


def test_the_price_of_a_day_ago_reaches_the_browser_when_it_is_another(hub):
    """With or without a candle, once; also that of another market that is looked at next."""
    cursor, watch = watching(hub)
    hub.references = {"BTC-USDT": 90.0, "ETH-USDT": 90.0}
    assert cursor.chart(watch)["reference"] == 90.0
    assert cursor.chart(watch) is None
    hub.references = {"BTC-USDT": 91.0, "ETH-USDT": 90.0}
    hub.take("market:BTC-USDT", message(1, 100))
    push = cursor.chart(watch)
    assert (push["reference"], len(push["candles"])) == (91.0, 1)
    hub.take("market:BTC-USDT", message(1, 101))
    assert "reference" not in cursor.chart(watch)
    other = Watch("bot_001", "ETH-USDT", "1m")
    assert cursor.chart(other) is None
    assert cursor.chart(other)["reference"] == 90.0


async def test_a_browser_is_woken_by_its_own_market_only(hub):
    """Other symbols and order books leave it asleep; its own candle and a missed stretch wake it."""
    with hub.listening("mine") as listener:
        hub.watch("mine", Watch("bot_001", "BTC-USDT", "1m"))
        assert await listener.wait(5)
        hub.watch("other", Watch("bot_002", "ETH-USDT", "1m"))
        hub.take("market:ETH-USDT", message(1, 7))
        hub.take("book:BTC-USDT", {"bids": [], "asks": []})
        assert not listener.woken.is_set()
        waiting = asyncio.create_task(listener.wait(5))
        await asyncio.sleep(0)
        assert not waiting.done()
        hub.take("market:BTC-USDT", message(1, 100))
        assert await waiting
        hub.take("bus", {"event": "reconnected"})
        assert await listener.wait(5)
    hub.take("market:BTC-USDT", message(1, 101))
    assert not listener.woken.is_set()


async def test_the_feed_is_told_when_it_changes_and_once_a_second(hub):
    """The clocks alone are no news; the kill switch is."""
    clock = ManualClock(NOW_MS)
    cursor = Cursor(Hub(no_database(), MemoryBus(), hub.feed, clock))
    assert cursor.feed()["pushed"] is True
    clock.set(NOW_MS + 900)
    assert cursor.feed() is None
    hub.feed.kill_switch = True
    assert cursor.feed()["kill_switch"] is True
    clock.set(NOW_MS + 1_900)
    assert cursor.feed() is not None


def test_sessions_are_bounded(hub):
    """Of many browsers the longest unused is forgotten."""
    for n in range(2_100):
        hub.watch(str(n), Watch())
    assert len(hub.sessions) == 2_000
    assert "0" not in hub.sessions


def beating(age_ms=500, **details):
    """A feed whose daemon beat a while ago."""
    feed = Feed("sim")
    feed.components(
        [
            {
                "component": "live",
                "timestamp": NOW - timedelta(milliseconds=age_ms),
                "exchange_time": NOW + timedelta(days=1),
                "details": {"feed": "live", "clock_rate": 60.0, **details},
            }
        ]
    )
    return feed


def test_the_exchange_clock_runs_on_at_its_rate():
    """Half a second after a heartbeat at ×60 the exchange is thirty seconds further."""
    feed = beating()
    assert feed.exchange_ms(NOW_MS) == NOW_MS + 86_400_000 + 30_000
    assert Feed("okx").exchange_ms(NOW_MS) == NOW_MS


def test_the_feed_names_what_is_away():
    """Each lost part has its own word, the most fundamental first."""
    feed = beating()
    assert feed.state(NOW_MS) == "silent"
    feed.market_message(NOW_MS, NOW_MS - 35)
    assert feed.state(NOW_MS) == "live"
    assert feed.document(NOW_MS)["lag_ms"] == 35
    assert feed.state(NOW_MS + 11_000) == "silent"
    assert feed.state(NOW_MS + 20_000) == "daemon"
    assert beating(feed="reconnecting").state(NOW_MS) == "exchange"
    feed.bus_error = "gone"
    assert feed.state(NOW_MS) == "bus"
    feed.database_lost(NOW_MS, ValueError("no\nway"))
    assert feed.state(NOW_MS) == "database"
    assert feed.document(NOW_MS)["error"] == "no"


def test_the_feed_is_as_late_as_its_worst_live_connection():
    """Not as the bus, which brings candles within a millisecond while the exchange is seconds behind; one
    that is cut, or a daemon that is silent, says nothing of now."""
    lines = [("live", 40.0, 105.0), ("live", 2_300.0, 4_000.0), ("live", None, None), ("closed", 9e9, 9e9)]
    names = ("state", "latency_p50_ms", "latency_p99_ms")
    feed = beating(connections=[dict(zip(names, line, strict=True)) for line in lines])
    feed.market_message(NOW_MS, NOW_MS)
    document = feed.document(NOW_MS)
    assert (document["latency_ms"], document["latency_p99_ms"], document["lag_ms"]) == (2_300.0, 4_000.0, 0)
    assert feed.document(NOW_MS + 20_000)["latency_ms"] is None
    assert beating().document(NOW_MS)["latency_ms"] is None


def test_an_order_book_goes_to_who_shows_it_and_ends_when_nobody_tells_it():
    """Told once a change, as floats; after half a minute of silence there is none."""
    clock = ManualClock(NOW_MS)
    hub = Hub(no_database(), MemoryBus(), Feed("sim"), clock)
    cursor, watch = Cursor(hub), Watch(None, "BTC-USDT", "1m", book=True)
    assert cursor.book(watch) == {"symbol": "BTC-USDT", "bids": [], "asks": []}
    hub.take("book:BTC-USDT", {"bids": [["1.5", "2"]], "asks": [["1.6", "1"]]})
    assert cursor.book(watch) == {"symbol": "BTC-USDT", "bids": [[1.5, 2.0]], "asks": [[1.6, 1.0]]}
    assert cursor.book(watch) is None
    assert cursor.book(Watch(None, "BTC-USDT", "1m")) is None
    clock.set(NOW_MS + 31_000)
    assert cursor.book(watch) == {"symbol": "BTC-USDT", "bids": [], "asks": []}


class OddBus(MemoryBus):
    """A bus whose reading of a key fails in a way that no server's absence does, while `odd`."""

    def __init__(self):
        super().__init__()
        self.odd = True

    async def get_value(self, key):
        """Fail, or answer as usual."""
        if self.odd:
            raise KeyError(key)
        return await super().get_value(key)


@asynccontextmanager
async def followed(hub):
    """The hub's tasks, until the block ends."""
    running = asyncio.create_task(hub.run())
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def eventually(condition):
    """Let the loop run until the condition holds, at most ten seconds."""
    deadline = monotonic() + 10
    while not condition():
        assert monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_message_of_another_version_costs_itself_only():
    """Prices go on after a candle without its prices, which is logged."""
    bus = MemoryBus()
    hub = Hub(no_database(), bus, Feed("sim"), ManualClock(NOW_MS))
    async with followed(hub) as running:
        await eventually(lambda: bool(bus._readers))
        for _ in range(2):
            await bus.publish("market:BTC-USDT", {"timeframe": "1m", "close_price": 5})
        await bus.publish("market:BTC-USDT", message(1, 100))
        await eventually(lambda: running.done() or hub.prices == {"BTC-USDT": 100.0})
        assert not running.done()


async def test_a_turn_that_fails_is_followed_by_the_next():
    """What nobody expected does not end the reading of bots; meanwhile health says that it stands still."""
    bus, clock = OddBus(), ManualClock(NOW_MS)
    hub = Hub(no_database(), bus, Feed("sim"), clock)
    async with followed(hub) as running:
        await eventually(lambda: running.done() or hub.feed.database_error)
        clock.set(NOW_MS + 16_000)
        assert hub.late() and health_document(hub)["current"] is False
        assert health_document(hub)["status"] == "unavailable"
        bus.odd = False
        hub.refresh_soon()
        await eventually(lambda: running.done() or not hub.late())
        assert not running.done()
        assert health_document(hub)["current"] is True


def test_a_loss_without_a_reason_is_said_too():
    """A driver's error may have no text."""
    feed = beating()
    feed.database_lost(NOW_MS, ValueError(""))
    assert feed.document(NOW_MS)["error"] == "no reason given"
