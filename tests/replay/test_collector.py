"""The whole collector on real servers, fed by an exchange that loses, repeats and disorders."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from decimal import Decimal

import msgspec
import pytest
from sqlalchemy import text

from core.timeframes import Timeframe
from core.trades import Side, Trade
from live.collector.backlog import Bounds
from live.collector.collector import Collector
from pipelines.bus.base import Bus
from pipelines.bus.memory import MemoryBus
from pipelines.bus.redis import RedisBus
from pipelines.clock import ExchangeClock, SystemClock
from pipelines.warehouse.database import engine as engine_of
from tests.aggregation import candles_of, trades_frame
from tests.exchange import FakeExchange
from tests.proxy import Proxy
from tests.sql_candles import candles_by_sql

pytestmark = pytest.mark.servers

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


@asynccontextmanager
async def collecting(
    exchange: FakeExchange,
    database_url: str,
    bus: Bus,
    on_event: Callable[[str, str, str], None] = lambda level, event, message: None,
) -> AsyncIterator[Collector]:
    """A collector at work; its errors are the test's."""
    collector = Collector(
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
    )
    task = asyncio.create_task(collector.run())
    try:
        yield collector
    finally:
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError), result


async def until(condition: Callable[[], bool], seconds: float = 40) -> None:
    """Poll until it holds."""
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)


def closed_through(database_url: str) -> int:
    """Close of the newest final minute that every symbol has, in ms."""
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

    `begun_ms`: the collector was started at that virtual time; it may have begun some minutes later.
    """
    for symbol in SYMBOLS:
        start_ms = stored_candles(database_url, symbol, Timeframe.M1, True)[0][0] - 60_000
        assert begun_ms <= start_ms <= begun_ms + 5 * 60_000
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


async def test_six_timeframes_over_midnight_equal_an_aggregation_of_the_trades(database_url, redis_url):
    start_ms = MIDNIGHT - 6 * 60_000
    tape = tape_of(minutes=14, start_ms=start_ms - 60_000) + earlier_tape()
    exchange = FakeExchange(tape, start_ms + 20_000, SPEED)
    bus = RedisBus(redis_url)
    target = MIDNIGHT + 5 * 60_000
    async with collecting(exchange, database_url, bus):
        await until(lambda: closed_through(database_url) >= target)
    await bus.close()
    assert_complete(database_url, tape, start_ms, target)
    for symbol in SYMBOLS:
        ours = trades_frame([t for t in tape if t.symbol == symbol])
        for timeframe in FRAMES:
            at_midnight = {row[0]: row for row in stored_candles(database_url, symbol, timeframe, False)}
            assert (
                at_midnight[MIDNIGHT][:6]
                == {r[0]: r for r in candles_of(ours, timeframe, MIDNIGHT)}[MIDNIGHT][:6]
            )


def earlier_tape() -> list[Trade]:
    """A quiet day before: a trade a minute and symbol, with ids right below those of `tape_of`."""
    minutes = 24 * 60 - 7
    return [
        Trade(
            symbol,
            1_000_000 * (n + 1) - minutes + 1 + minute,
            MIDNIGHT - 86_400_000 + minute * 60_000 + 500,
            Decimal(60_000 + minute % 97),
            Decimal(1),
            Side.SELL,
        )
        for n, symbol in enumerate(SYMBOLS)
        for minute in range(minutes)
    ]


async def test_lost_repeated_and_disordered_trades_are_made_good_before_a_candle_is_released(
    database_url, redis_url
):
    tape = tape_of(minutes=14, start_ms=MIDNIGHT)
    fault = Misbehaviour(seed=7)
    exchange = FakeExchange(tape, MIDNIGHT + 30_000, SPEED, fault)
    bus = RedisBus(redis_url)
    finals: list[dict] = []
    reading = asyncio.create_task(read_finals(bus, finals))
    target = MIDNIGHT + 11 * 60_000
    async with collecting(exchange, database_url, bus):
        await until(lambda: closed_through(database_url) >= target)
    await until(lambda: sum(f["timeframe"] == "1m" for f in finals) >= 10)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await bus.close()
    assert fault.lost > 20
    assert len(exchange.asked_ids) > 5
    assert_complete(database_url, tape, MIDNIGHT, target)
    assert {(f["revision"], f["provisional"]) for f in finals} == {(0, False)}
    keys = [(f["symbol"], f["timeframe"], f["timestamp"]) for f in finals]
    assert len(keys) == len(set(keys))
    with engine_of(database_url).connect() as connection:
        states = set(connection.execute(text("SELECT DISTINCT state FROM data_gaps")).scalars())
    assert states == {"refilled"}


async def read_finals(bus: Bus, finals: list[dict]) -> None:
    async with aclosing(bus.subscribe(["market:*"])) as messages:
        async for channel, message in messages:
            if channel != "bus" and message["final"]:
                finals.append(message)


async def test_a_collector_that_was_stopped_goes_on_where_it_was(database_url):
    tape = tape_of(minutes=20, start_ms=MIDNIGHT, seed=3)
    exchange = FakeExchange(tape, MIDNIGHT + 90_000, SPEED, Misbehaviour(seed=2))
    for target_minute in (5, 8, 15):
        async with collecting(exchange, database_url, MemoryBus()):
            await until(lambda m=target_minute: closed_through(database_url) >= MIDNIGHT + m * 60_000)
    assert_complete(database_url, tape, MIDNIGHT, MIDNIGHT + 15 * 60_000)


async def test_a_collector_that_ends_in_the_middle_of_a_refill_leaves_rows_that_the_next_start_closes(
    database_url,
):
    tape = tape_of(minutes=30, start_ms=MIDNIGHT, seed=12)
    lost = [t for t in tape if MIDNIGHT + 150_000 <= t.timestamp_ms < MIDNIGHT + 165_000]
    exchange = FakeExchange(
        tape, MIDNIGHT + 30_000, 60.0, lambda frame: [t for t in frame if not overlaps(t, lost)]
    )
    async with collecting(exchange, database_url, MemoryBus()) as collector:
        await until(lambda: collector.health()["history"] == "complete")
        exchange.rest_is_away = True
        await until(lambda: len(ledger(database_url, "refilling")) == len(SYMBOLS), 60)
    holes = ledger(database_url, "refilling")
    exchange.rest_is_away = False
    async with collecting(exchange, database_url, MemoryBus()) as collector:
        await until(lambda: set(holes) <= set(ledger(database_url, "refilled")))
        await until(lambda: closed_through(database_url) >= MIDNIGHT + 5 * 60_000)
        await until(lambda: not provisional(database_url) and not missing(collector))
    assert_complete(database_url, tape, MIDNIGHT, MIDNIGHT + 5 * 60_000)


def ledger(database_url: str, state: str) -> list[tuple]:
    query = text("SELECT symbol, first_id, last_id FROM data_gaps WHERE state = :state ORDER BY 1, 2")
    with engine_of(database_url).connect() as connection:
        return [tuple(row) for row in connection.execute(query, {"state": state})]


async def test_a_hole_too_large_to_refill_by_id_is_closed_by_the_exchanges_candles(database_url):
    later = [
        msgspec.structs.replace(trade, trade_id=trade.trade_id + 100_000)
        for trade in tape_of(minutes=20, start_ms=MIDNIGHT + 6 * 60_000, seed=9)
    ]
    tape = tape_of(minutes=6, start_ms=MIDNIGHT, seed=9) + later
    exchange = FakeExchange(tape, MIDNIGHT + 10_000, SPEED)
    async with collecting(exchange, database_url, MemoryBus()):
        await until(lambda: closed_through(database_url) >= MIDNIGHT + 3 * 60_000)
    await until(lambda: exchange.now_ms() >= MIDNIGHT + 10 * 60_000)
    target = MIDNIGHT + 14 * 60_000
    async with collecting(exchange, database_url, MemoryBus()) as collector:
        await until(lambda: closed_through(database_url) >= target)
        await until(lambda: collector.health()["history"] == "complete")
    for symbol in SYMBOLS:
        stored = [
            row for row in stored_candles(database_url, symbol, Timeframe.M1, False) if row[0] <= target
        ]
        ours = trades_frame([t for t in tape if t.symbol == symbol])
        truth = {row[0]: row for row in candles_of(ours, Timeframe.M1, target)}
        assert [row[:6] for row in stored] == [row[:6] for row in truth.values()]
    with engine_of(database_url).connect() as connection:
        states = list(connection.execute(text("SELECT state FROM data_gaps")).scalars())
    assert states == ["unfillable"] * len(SYMBOLS)


async def test_postgres_away_for_two_seconds_loses_nothing(database_url):
    tape = tape_of(minutes=25, start_ms=MIDNIGHT, seed=4)
    exchange = FakeExchange(tape, MIDNIGHT + 30_000, SPEED)
    target = MIDNIGHT + 16 * 60_000
    async with Proxy(database_url) as proxy, collecting(exchange, proxy.url, MemoryBus()) as collector:
        await until(lambda: closed_through(database_url) >= MIDNIGHT + 3 * 60_000)
        await proxy.cut()
        await until(lambda: collector.health()["postgres_away"])
        away_at = collector.health()["received_trades"]
        await until(lambda: collector.health()["received_trades"] > away_at + 300)
        await proxy.restore()
        await until(lambda: closed_through(database_url) >= target)
    engine_of(proxy.url).dispose()
    assert_complete(database_url, tape, MIDNIGHT, target)


async def test_redis_away_does_not_keep_data_from_postgres_and_final_candles_follow_in_order(
    database_url, redis_url
):
    tape = tape_of(minutes=25, start_ms=MIDNIGHT, seed=8)
    exchange = FakeExchange(tape, MIDNIGHT + 30_000, SPEED)
    finals: list[dict] = []
    reader = RedisBus(redis_url)
    reading = asyncio.create_task(read_finals(reader, finals))
    async with Proxy(redis_url) as proxy:
        bus = RedisBus(proxy.url)
        async with collecting(exchange, database_url, bus) as collector:
            await until(lambda: len(finals) > 0)
            await proxy.cut()
            await until(lambda: collector.health()["bus_away"])
            target = closed_through(database_url) + 4 * 60_000
            await until(lambda: closed_through(database_url) >= target)
            await proxy.restore()
            target += 3 * 60_000
            await until(lambda: any(ms_of(f["timestamp"]) >= target for f in finals))
        await bus.close()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await reader.close()
    for symbol in SYMBOLS:
        closes = [ms_of(f["timestamp"]) for f in finals if (f["symbol"], f["timeframe"]) == (symbol, "1m")]
        assert sorted(set(closes)) == list(range(min(closes), max(closes) + 1, 60_000))
        assert closes == sorted(closes)


def ms_of(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp() * 1000)


async def test_trades_refused_by_a_full_queue_are_asked_for_again(database_url):
    tape = tape_of(minutes=20, start_ms=MIDNIGHT, seed=5)
    exchange = FakeExchange(tape, MIDNIGHT + 30_000, SPEED)
    target = MIDNIGHT + 12 * 60_000
    async with Proxy(database_url) as proxy, collecting(exchange, proxy.url, MemoryBus()) as collector:
        collector._writer._bounds = Bounds(capacity_trades=100)
        await until(lambda: closed_through(database_url) >= MIDNIGHT + 2 * 60_000)
        await proxy.cut()
        await until(lambda: collector.health()["refused_trades"] > 100)
        await proxy.restore()
        await until(lambda: closed_through(database_url) >= target)
    engine_of(proxy.url).dispose()
    assert_complete(database_url, tape, MIDNIGHT, target)


async def test_a_candle_past_the_budget_goes_out_provisional_and_comes_again_complete_with_all_above(
    database_url, redis_url
):
    tape = tape_of(minutes=60, start_ms=MIDNIGHT, seed=6)
    lost = [t for t in tape if MIDNIGHT + 120_000 <= t.timestamp_ms < MIDNIGHT + 150_000]
    exchange = FakeExchange(
        tape, MIDNIGHT + 30_000, 60.0, lambda frame: [t for t in frame if not overlaps(t, lost)]
    )
    finals: list[dict] = []
    bus = RedisBus(redis_url)
    reading = asyncio.create_task(read_finals(bus, finals))
    async with collecting(exchange, database_url, bus) as collector:
        await until(lambda: closed_through(database_url) >= MIDNIGHT + 60_000)
        exchange.rest_is_away = True
        await until(lambda: any(f["timeframe"] == "5m" and f["provisional"] for f in finals), 30)
        exchange.rest_is_away = False
        await until(lambda: not provisional(database_url) and not missing(collector))
        await until(lambda: revised(finals) == {"1m", "5m"})
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await bus.close()
    assert_complete(database_url, tape, MIDNIGHT, MIDNIGHT + 5 * 60_000)
    issues: dict[tuple, list[dict]] = {}
    for final in finals:
        issues.setdefault((final["symbol"], final["timeframe"], final["timestamp"]), []).append(final)
    for issued in issues.values():
        assert [f["revision"] for f in issued] == list(range(len(issued)))
        counts = [f["trades_count"] for f in issued]
        assert counts == sorted(counts)
    stored = revisions(database_url)
    assert {key: issued[-1]["revision"] for key, issued in issues.items()}.items() <= stored.items()


def revised(finals: Sequence[dict]) -> set[str]:
    """Timeframes of which a candle was published again, complete."""
    return {f["timeframe"] for f in finals if f["revision"] and not f["provisional"]}


def revisions(database_url: str) -> dict[tuple, int]:
    query = text("SELECT symbol, timeframe, timestamp AT TIME ZONE 'UTC' AS at, revision FROM market_data")
    with engine_of(database_url).connect() as connection:
        rows = connection.execute(query).all()
    return {(row.symbol, row.timeframe, row.at.isoformat() + "Z"): row.revision for row in rows}


def overlaps(trade: Trade, lost: Sequence[Trade]) -> bool:
    return any(trade.symbol == t.symbol and trade.first_id <= t.trade_id <= trade.trade_id for t in lost)


def missing(collector: Collector) -> int:
    return sum(symbol["missing_ids"] for symbol in collector.health()["symbols"].values())


def provisional(database_url: str) -> list[int]:
    with engine_of(database_url).connect() as connection:
        return list(connection.execute(text("SELECT 1 FROM market_data WHERE provisional")).scalars())


def test_the_tape_has_bursts_and_empty_minutes():
    tape = [t for t in tape_of(minutes=30, start_ms=MIDNIGHT, seed=1) if t.symbol == "BTC-USDT"]
    minutes = {t.timestamp_ms // 60_000 for t in tape}
    assert len({t.timestamp_ms for t in tape}) < len(tape)
    assert len(minutes) < max(minutes) - min(minutes) + 1
    assert all(msgspec.structs.replace(t, count=1) == t for t in tape)
