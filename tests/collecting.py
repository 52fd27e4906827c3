"""A collector at work on real servers, fed by an exchange in memory, and what it stored."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from decimal import Decimal

from sqlalchemy import text

from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.collector import Collector
from live.collector.unlisted import ASK_AGAIN_S
from pipelines.bus.base import Bus
from pipelines.clock import ExchangeClock, SystemClock
from pipelines.warehouse.database import engine as engine_of
from tests.aggregation import candles_of, trades_frame
from tests.exchange import FakeExchange
from tests.sql_candles import candles_by_sql

MIDNIGHT = 1_763_683_200_000
SYMBOLS = ("BTC-USDT", "ETH-USDT")
SPEED = 300.0
FRAMES = tuple(Timeframe)


def tape_of(minutes: int, start_ms: int, seed: int = 1, every_ms: int = 900) -> list[Trade]:
    """Trades of two symbols with bursts in one millisecond and empty minutes; ids have no holes."""
    dice = random.Random(seed)
    tape = []
    for n, symbol in enumerate(SYMBOLS):
        at, trade_id, price = start_ms, 1_000_000 * (n + 1), 6_000_000
        while at < start_ms + minutes * 60_000:
            quiet = dice.random() < 0.004
            at += 150_000 if quiet else dice.randrange(1, 2 * every_ms)
            price += dice.randrange(-50, 51)
            for _ in range(dice.choice([1, 1, 1, 2, 3])):
                trade_id += 1
                size = Decimal(dice.randrange(1, 10**8)) / 10**8
                tape.append(Trade(symbol, trade_id, at, Decimal(price) / 100, size, Side.BUY))
    return tape


def collector_of(
    exchange: FakeExchange,
    database_url: str,
    bus: Bus,
    on_event: Callable[[str, str, str], None] = lambda level, event, message: None,
    ask_unlisted_s: float = ASK_AGAIN_S,
) -> Collector:
    """All timeframes of both symbols, with a day of history."""
    return Collector(
        SYMBOLS,
        FRAMES,
        exchange,
        exchange,
        engine_of(database_url),
        bus,
        ExchangeClock(),
        SystemClock(),
        history_days=1,
        on_event=on_event,
        ask_unlisted_s=ask_unlisted_s,
    )


@asynccontextmanager
async def collecting(
    exchange: FakeExchange,
    database_url: str,
    bus: Bus,
    on_event: Callable[[str, str, str], None] = lambda level, event, message: None,
    ask_unlisted_s: float = ASK_AGAIN_S,
) -> AsyncIterator[Collector]:
    """A collector at work; its errors are the test's."""
    collector = collector_of(exchange, database_url, bus, on_event, ask_unlisted_s)
    task = asyncio.create_task(collector.run())
    try:
        yield collector
    finally:
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError), result


def closed_through(database_url: str) -> int:
    """Close of the newest final minute that every symbol has, in ms; 0 while one of them has none."""
    query = text(
        "SELECT (extract(epoch FROM max(timestamp)) * 1000)::bigint FROM market_data "
        "WHERE timeframe = '1m' AND symbol = :symbol"
    )
    with engine_of(database_url).connect() as connection:
        return min(connection.execute(query, {"symbol": symbol}).scalar() or 0 for symbol in SYMBOLS)


def stored_candles(database_url: str, symbol: str, timeframe: Timeframe, own: bool) -> list[tuple]:
    query = text(
        "SELECT (extract(epoch FROM timestamp) * 1000)::bigint, open, high, low, close, volume, trades_count "
        "FROM market_data WHERE symbol = :symbol AND timeframe = :timeframe "
        "AND (source <> 'exchange' OR NOT :own) AND NOT provisional ORDER BY timestamp"
    )
    with engine_of(database_url).connect() as connection:
        rows = connection.execute(query, {"symbol": symbol, "timeframe": timeframe.value, "own": own})
        return [tuple(row) for row in rows]


def assert_complete(database_url: str, tape: Sequence[Trade], begun_ms: int, through_ms: int) -> None:
    """raw_trades has each id from the start on once, and every own candle is that of the tape.

    `begun_ms`: the collector was started at that virtual time; on a busy machine it begins minutes later.
    """
    for symbol in SYMBOLS:
        start_ms = begin_of(database_url, symbol)
        assert begun_ms <= start_ms <= through_ms - 2 * 60_000
        ours = [t for t in tape if t.symbol == symbol]
        assert missing_and_repeated(database_url, ours, start_ms, through_ms) == (set(), set())
        for timeframe in FRAMES:
            truth = {row[0]: row for row in candles_of(trades_frame(ours), timeframe, through_ms)}
            own = [
                row for row in stored_candles(database_url, symbol, timeframe, True) if row[0] <= through_ms
            ]
            assert [row for row in own if row != truth[row[0]]] == []
            due = {t for t in truth if t - timeframe.ms >= start_ms and t <= through_ms}
            assert due <= {row[0] for row in own}
            by_sql = candles_by_sql(database_url, symbol, timeframe)
            whole = [row for row in own if row[0] - timeframe.ms >= start_ms and row[6] > 0]
            assert [row for row in whole if row != by_sql[row[0]]] == []


def begin_of(database_url: str, symbol: str) -> int:
    """Open time of the first minute that was collected, in ms."""
    return stored_candles(database_url, symbol, Timeframe.M1, True)[0][0] - 60_000


def all_stored(database_url: str, tape: Sequence[Trade], through_ms: int) -> bool:
    """Whether every trade of the tape since the begin is there: what a busy machine has not written two
    seconds after the end is asked for at the next start."""
    return all(
        missing_and_repeated(
            database_url, [t for t in tape if t.symbol == symbol], begin_of(database_url, symbol), through_ms
        )
        == (set(), set())
        for symbol in SYMBOLS
    )


def missing_and_repeated(
    database_url: str, tape: Iterable[Trade], start_ms: int, through_ms: int
) -> tuple[set[int], set[int]]:
    wanted = {t.trade_id for t in tape if start_ms <= t.timestamp_ms < through_ms}
    symbol = next(iter(tape)).symbol
    with engine_of(database_url).connect() as connection:
        rows = connection.execute(
            text("SELECT trade_id, count FROM raw_trades WHERE symbol = :symbol"), {"symbol": symbol}
        ).all()
    ids = [n for trade_id, count in rows for n in range(trade_id - count + 1, trade_id + 1)]
    return wanted - set(ids), {n for n in ids if ids.count(n) > 1} if len(ids) != len(set(ids)) else set()


class Misbehaviour:
    """Loses frames, sends trades twice and in another order; seeded."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._kept_back: list[Trade] = []
        self.lost = 0

    def __call__(self, trades: list[Trade]) -> list[Trade]:
        sent = self._kept_back
        self._kept_back = []
        for trade in trades:
            chance = self._dice.random()
            if chance < 0.05:
                self.lost += 1
            elif chance < 0.1:
                self._kept_back.append(trade)
            else:
                sent.extend([trade] * self._dice.choice([1, 1, 1, 2]))
        if self._dice.random() < 0.2:
            self._dice.shuffle(sent)
        return sent


async def read_finals(bus: Bus, finals: list[dict]) -> None:
    async with aclosing(bus.subscribe(["market:*"])) as messages:
        async for channel, message in messages:
            if channel != "bus" and message["final"]:
                finals.append(message)


def ledger(database_url: str, state: str) -> list[tuple]:
    query = text("SELECT symbol, first_id, last_id FROM data_gaps WHERE state = :state ORDER BY 1, 2")
    with engine_of(database_url).connect() as connection:
        return [tuple(row) for row in connection.execute(query, {"state": state})]


def overlaps(trade: Trade, lost: Sequence[Trade]) -> bool:
    return any(trade.symbol == t.symbol and trade.first_id <= t.trade_id <= trade.trade_id for t in lost)


def missing(collector: Collector) -> int:
    return sum(symbol["missing_ids"] for symbol in collector.health()["symbols"].values())


def provisional(database_url: str) -> list[int]:
    with engine_of(database_url).connect() as connection:
        return list(connection.execute(text("SELECT 1 FROM market_data WHERE provisional")).scalars())


def ms_of(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp() * 1000)
