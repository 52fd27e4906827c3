"""What the collector has from before its first live trade."""

from decimal import Decimal

import pytest

from core.candle_builder import CandleBuilder
from core.candles import Candle
from core.continuity import Continuity
from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.history import History
from live.collector.stream import SymbolStream
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.resume import exact_candles
from tests.exchange import FakeExchange

pytestmark = pytest.mark.servers

SYMBOL = "BTC-USDT"
MIDNIGHT = 1_763_683_200_000
MINUTE = 60_000
FRAMES = tuple(Timeframe)
TAPE = [
    Trade(SYMBOL, n + 1, MIDNIGHT + n * MINUTE // 2 + 5, Decimal(60_000 + n), Decimal(2), Side.BUY)
    for n in range(2 * 26 * 60)
]


async def test_longer_candles_that_a_killed_process_left_out_are_made_of_its_minutes(database_url):
    """Minutes are stored and a day's candles of them are not: they are made with the number of their trades,
    the exchange's own, which have none, notwithstanding."""
    start_ms = MIDNIGHT + (24 * 60 + 4) * MINUTE
    builder = CandleBuilder(SYMBOL, FRAMES, MIDNIGHT)
    for trade in TAPE:
        if trade.timestamp_ms < start_ms:
            builder.add(trade)
    made = [candle for _ in range(24 * 60 + 4) for candle in builder.close()]
    engine, exchange = engine_of(database_url), FakeExchange(TAPE, start_ms + 1, 0.0)
    theirs = await exchange.candles(SYMBOL, Timeframe.H1, MIDNIGHT, MIDNIGHT + 3 * 60 * MINUTE)
    with engine.begin() as connection:
        upsert_candles(connection, [candle for candle in made if candle.timeframe is Timeframe.M1])
        upsert_candles(connection, theirs)

    def store(candles: list[Candle]) -> None:
        with engine.begin() as connection:
            upsert_candles(connection, candles)

    stream = SymbolStream(SYMBOL, FRAMES, start_ms, Continuity())
    await History(exchange, engine, database_url, FRAMES, 0, store).run({SYMBOL: stream})
    with engine.connect() as connection:
        stored = {
            timeframe: exact_candles(connection, SYMBOL, timeframe, MIDNIGHT, start_ms)
            for timeframe in FRAMES
        }
    assert [len(stored[timeframe]) for timeframe in FRAMES] == [24 * 60 + 4, 288, 96, 24, 6, 1]
    for candle in made:
        found = [other for other in stored[candle.timeframe] if other.close_ms == candle.close_ms]
        assert [(c.open, c.high, c.low, c.close, c.volume, c.trades_count, c.source) for c in found] == [
            (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades_count, "trades")
        ]


class Unconfirmed(FakeExchange):
    """Confirms its last two minutes only when it is asked for the second time."""

    asked = 0

    async def candles(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> list[Candle]:
        """Without the last two minutes of the tape at first."""
        found = await super().candles(symbol, timeframe, start_ms, end_ms)
        self.asked += timeframe is Timeframe.M1
        return found if self.asked > 1 or timeframe is not Timeframe.M1 else found[:-2]


async def test_minutes_that_the_exchange_confirms_late_are_waited_for(database_url):
    """A longer candle that had begun at the start is released with all of its minutes."""
    start_ms = MIDNIGHT + 7 * 60 * MINUTE + 3 * MINUTE
    exchange = Unconfirmed(TAPE, start_ms + 1, 0.0)
    stream = SymbolStream(SYMBOL, FRAMES, start_ms, Continuity())
    await History(exchange, engine_of(database_url), database_url, FRAMES, 0, lambda candles: None).run(
        {SYMBOL: stream}
    )
    for trade in TAPE:
        if start_ms <= trade.timestamp_ms < start_ms + 2 * MINUTE:
            stream.builder.add(trade)
    released = [candle for _ in range(2) for candle in stream.builder.close()]
    five = [candle for candle in released if candle.timeframe is Timeframe.M5]
    assert [candle.volume for candle in five] == [Decimal(20)] and exchange.asked > 1


async def test_minutes_that_are_closed_meanwhile_are_left_to_the_collector(database_url):
    """What the stream has closed since its start may not be written yet: the exchange's candle would be there
    before its trades."""
    start_ms = MIDNIGHT + 7 * 60 * MINUTE
    exchange = FakeExchange(TAPE, start_ms + 3 * MINUTE, 0.0)
    stream = SymbolStream(SYMBOL, FRAMES, start_ms, Continuity())
    for trade in TAPE:
        if start_ms <= trade.timestamp_ms < start_ms + 2 * MINUTE:
            stream.builder.add(trade)
    closed = [candle for _ in range(2) for candle in stream.builder.close()]
    engine = engine_of(database_url)
    await History(exchange, engine, database_url, FRAMES, 0, lambda candles: None).run({SYMBOL: stream})
    with engine.connect() as connection:
        stored = exact_candles(connection, SYMBOL, Timeframe.M1, MIDNIGHT, start_ms + 3 * MINUTE)
    assert len(closed) == 2 and stored[-1].close_ms == start_ms
    assert stream.builder.last_close == closed[-1].close
