"""A bot whose orders take from the order book, on real servers: from the bus to the record."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from core.book_fills import BookTop
from core.candles import Candle
from core.errors import BadInput
from live.bots.bot import BOOK_PATIENCE_MS, Bot
from live.bots.messages import MarketUpdate
from live.messages import iso
from pipelines.backtest.live_parity import check_bot
from pipelines.bus.books import document, publish_book
from pipelines.bus.redis import RedisBus
from pipelines.warehouse.bot_ledger import Conflict
from pipelines.warehouse.bots import find_bot
from pipelines.warehouse.controls import set_kill_switch
from pipelines.warehouse.database import engine as engine_of
from pipelines.warehouse.health import beat
from pipelines.warehouse.trades import copy_trades
from tests import bot_bench as bench
from tests.contract.test_bot_orders import MINUTES, market, running

pytestmark = pytest.mark.servers
D = Decimal
HISTORY = 50
BOT = {
    "strategy": "buy_and_hold",
    "parameters": {},
    "execution": {"book": True, "spread": 100},
    "risk": {"stop_loss": 0.2},
}
FILLS = (
    "SELECT price, quantity, book->>'price', book->>'size', (book->>'sequence')::int FROM trades ORDER BY id"
)


class HandClock:
    """Wall time that the test sets."""

    def __init__(self) -> None:
        self.ms = 1_760_000_000_000

    def now_ms(self) -> int:
        """ms since the epoch"""
        return self.ms


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """The test's database."""
    engine = engine_of(database_url)
    yield engine
    engine.dispose()


def decided(engine: Engine, clock: HandClock) -> tuple[Bot, list[Candle], list[list]]:
    """A bot that has just decided to buy at the close of candle HISTORY, and the market around it."""
    candles, inside = market()
    bench.add_bot(engine, "alpha", **BOT)
    bench.store(engine, candles[:HISTORY])
    with engine.begin() as connection:
        copy_trades(connection, [trade for trades in inside for trade in trades])
    beat(engine, "live", clock.now_ms(), candles[HISTORY - 1].close_ms + 1, {})
    bot = Bot(find_bot(engine, "alpha"), engine, clock, lambda message: None)
    bot.catch_up()
    bench.store(engine, candles[HISTORY : HISTORY + 1])
    bot.on_update(MarketUpdate(candles[HISTORY], clock.now_ms()))
    return bot, candles, inside


def fills(engine: Engine) -> list[tuple]:
    """Price, quantity and the level of each fill."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(FILLS))]


def test_a_decision_takes_the_levels_of_the_next_book_and_they_are_on_record(engine):
    """Two levels, the second in part; trades that come before the book, within its patience, fill nothing."""
    clock = HandClock()
    bot, candles, inside = decided(engine, clock)
    close_ms = candles[HISTORY].close_ms
    bot.on_update(running(inside[HISTORY + 1][:3], close_ms + MINUTES))
    assert fills(engine) == []
    bot.on_book(BookTop(close_ms + 700, 41, (), ((D(60_000), D("0.05")), (D(60_010), D(3)))))
    (one, two) = fills(engine)
    assert one == (D(60_000), D("0.05"), "60000", "0.05", 41)
    assert (two[0], two[2:]) == (D(60_010), ("60010", "3", 41))
    assert 0 < two[1] < 3
    cash = bench.scalar(engine, "SELECT cash FROM positions")
    assert 0 <= cash < 1
    bot.on_book(BookTop(close_ms + 900, 42, (), ((D(1), D(9)),)))
    assert len(fills(engine)) == 2


def test_what_the_book_leaves_is_filled_by_trades_after_it_and_by_no_earlier_ones(engine):
    """A book that shows little: the rest waits for the first trade behind the book's time, with the costs of
    trades, and the same after the process was begun anew."""
    clock = HandClock()
    bot, candles, inside = decided(engine, clock)
    close_ms, trades = candles[HISTORY].close_ms, inside[HISTORY + 1]
    bot.on_book(BookTop(trades[2].timestamp_ms + 1, 41, (), ((D(60_000), D("0.05")),)))
    assert len(fills(engine)) == 1
    bot = Bot(find_bot(engine, "alpha"), engine, clock, lambda message: None)
    bot.on_update(running(trades, close_ms + MINUTES))
    _, rest = fills(engine)
    assert rest[0] == trades[3].price + 50 and rest[2] is None


@pytest.mark.parametrize("why", ["no book came", "the book is of a later candle"])
def test_without_a_book_trades_fill_as_they_do_without_the_option(engine, why):
    """When patience is over, the first trade after the decision fills all."""
    clock = HandClock()
    bot, candles, inside = decided(engine, clock)
    close_ms = candles[HISTORY].close_ms
    if why == "no book came":
        clock.ms += BOOK_PATIENCE_MS
    else:
        bot.on_book(BookTop(close_ms + MINUTES, 41, (), ((D(1), D(9)),)))
    bot.on_update(running(inside[HISTORY + 1], close_ms + MINUTES))
    ((price, *_, sequence),) = fills(engine)
    assert (price, sequence) == (inside[HISTORY + 1][0].price + 50, None)


def test_the_kill_switch_holds_up_what_a_book_would_fill(engine):
    """The account is read again first, and then what waits is withdrawn by the next price."""
    clock = HandClock()
    bot, candles, inside = decided(engine, clock)
    close_ms = candles[HISTORY].close_ms
    set_kill_switch(engine, on=True)
    with pytest.raises(Conflict):
        bot.on_book(BookTop(close_ms + 1, 41, (), ((D(60_000), D(9)),)))
    bot.restore()
    bot.on_update(running(inside[HISTORY + 1], close_ms + MINUTES))
    assert fills(engine) == []
    assert bench.scalar(engine, "SELECT status FROM orders") == "cancelled"


def test_parity_refuses_fills_from_a_book(engine):
    """No candle tells of a book; the refusal names the field."""
    bot, candles, _ = decided(engine, HandClock())
    assert bot.account.last_candle_ms == candles[HISTORY].close_ms
    with pytest.raises(BadInput, match=r"execution\.book: parity is not known"):
        check_bot(engine.url.render_as_string(hide_password=False), "alpha")


async def test_a_process_hears_books_on_the_bus(engine, redis_url, tmp_path: Path):
    """A bot's own process: a final candle, then a book, and the book's level is the fill on record. A bot
    waits for a book no longer than 1.5 s after it has decided: one that a busy machine lets miss it fills
    nothing here, and the next bot tries at the next candle."""
    candles = bench.walk(HISTORY + 3)
    bench.store(engine, candles[:HISTORY])
    bus = RedisBus(redis_url)
    try:
        for name, at in zip(("alpha", "beta", "gamma"), range(HISTORY, HISTORY + 3), strict=True):
            with suppress(TimeoutError):
                await _decide_with_books(engine, bus, redis_url, tmp_path, name, candles[at - 1 : at + 1])
                break
        ((price, *_, sequence),) = fills(engine)
        assert (price, sequence) == (60_000, 77)
    finally:
        await bus.close()


async def _decide_with_books(
    engine: Engine, bus: RedisBus, redis_url: str, folder: Path, name: str, candles: list[Candle]
) -> None:
    """A bot's process from the first of two candles on; TimeoutError when the second brings no fill."""
    bench.add_bot(engine, name, **BOT)
    began, decided_ms = (candle.close_ms for candle in candles)
    beat(engine, "live", 0, began + 1, {})
    url = engine.url.render_as_string(hide_password=False)
    runner = bench.start_runner(name, url, redis_url, folder / f"{name}.log")
    try:
        await bench.until(lambda: bench.last_candle_ms(engine, name) == began, "first look")
        bench.store(engine, candles[1:])
        async with asyncio.timeout(25):
            while not fills(engine):
                if bench.last_candle_ms(engine, name) != decided_ms:
                    await bus.publish(f"market:{bench.SYMBOL}", bench.message(candles[1]))
                book = document(bench.SYMBOL, iso(decided_ms + 5), [], [(D(60_000), D(9))], 77)
                await publish_book(bus, book)
                await asyncio.sleep(0.05)
    finally:
        runner.terminate()
        runner.wait()
