"""The collector on an exchange whose trade ids show no holes: interruptions and restarts cost no trade."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import text

from core.timeframes import Timeframe
from core.trades import Trade
from pipelines.bus.redis import RedisBus
from pipelines.exchanges.ccxt.trades import time_id
from pipelines.warehouse.database import engine as engine_of
from tests.aggregation import candles_of, trades_frame
from tests.collecting import (
    MIDNIGHT,
    SPEED,
    assert_complete,
    closed_through,
    collecting,
    stored_candles,
    tape_of,
)
from tests.exchange import FakeExchange
from tests.sql_candles import candles_by_sql
from tests.waiting import until

pytestmark = pytest.mark.servers

MINUTE = 60_000
BEGUN = MIDNIGHT + 30 * MINUTE


class Unnumbered(FakeExchange):
    """Ids as they are of exchanges without a sequence. The feed is cut every second and back 0.3 s later with
    its last trade; REST shows trades `lag_ms` after they happened."""

    consecutive_ids = False

    def __init__(self, tape: Sequence[Trade], start_ms: int, speed: float, lag_ms: int = 0) -> None:
        super().__init__(tape, start_ms, speed)
        self._times = [trade.timestamp_ms for trade in self.tape]
        self._lag_ms = lag_ms
        self.cuts = 0

    async def run(
        self,
        symbols: Sequence[str],
        on_trades: Callable[[list[Trade]], None],
        on_state: Callable[[str, str], None],
    ) -> None:
        """The feed."""
        on_state("connecting", "")
        while True:
            on_state("live", "")
            on_trades([self._until_now(symbol)[-1] for symbol in symbols])
            sent, began = self._count(), asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() < began + 1.0:
                await asyncio.sleep(0.005)
                until_now = self._count()
                if frame := self.tape[sent:until_now]:
                    on_trades(list(frame))
                sent = until_now
            self.cuts += 1
            on_state("reconnecting", "told to")
            await asyncio.sleep(0.3)

    async def trade_pages(
        self, symbol: str, start_ms: int, end_ms: int, before_id: int | None = None
    ) -> AsyncGenerator[list[Trade], None]:
        """A hundred at a time."""
        await self._answer()
        known = [t for t in self._until_now(symbol, self._lag_ms) if start_ms <= t.timestamp_ms < end_ms]
        for last in range(len(known), 0, -100):
            yield known[max(last - 100, 0) : last]

    async def recent_trades(self, symbol: str, limit: int = 500) -> list[Trade]:
        """The newest matches."""
        await self._answer()
        return self._until_now(symbol, self._lag_ms)[-limit:]

    def _count(self, lag_ms: int = 0) -> int:
        return bisect_right(self._times, self.now_ms() - lag_ms)

    def _until_now(self, symbol: str, lag_ms: int = 0) -> list[Trade]:
        return [trade for trade in self.tape[: self._count(lag_ms)] if trade.symbol == symbol]


def unnumbered(tape: Sequence[Trade]) -> list[Trade]:
    return [msgspec.structs.replace(t, trade_id=time_id(t.timestamp_ms, str(t.trade_id * 7))) for t in tape]


def rows_of(database_url: str, query: str) -> list[tuple]:
    with engine_of(database_url).connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


@pytest.mark.parametrize("lag_ms", [0, 150_000], ids=["", "lagging"])
async def test_cuts_of_the_feed_cost_no_trade(database_url: str, redis_url: str, lag_ms: int):
    """Each id once, each candle that of the tape, no hole invented; also when REST lags the feed."""
    tape = unnumbered(tape_of(130, MIDNIGHT))
    exchange, bus = Unnumbered(tape, BEGUN, SPEED, lag_ms), RedisBus(redis_url)
    through = BEGUN + 40 * MINUTE
    async with collecting(exchange, database_url, bus):
        await until(lambda: closed_through(database_url) >= through)
        await until(lambda: not rows_of(database_url, "SELECT 1 FROM market_data WHERE provisional"))
    await bus.close()
    assert exchange.cuts >= 3
    assert_complete(database_url, tape, BEGUN, through)
    assert rows_of(database_url, "SELECT * FROM data_gaps") == []


async def test_a_restart_goes_on_where_it_was(database_url: str, redis_url: str, tmp_path: Path):
    """What happened while nobody collected, and what was not refilled before, is asked for by time; the
    candles are one unbroken series."""
    tape = unnumbered(tape_of(130, MIDNIGHT))
    exchange, bus = Unnumbered(tape, BEGUN, SPEED), RedisBus(redis_url)
    async with collecting(exchange, database_url, bus):
        await until(lambda: closed_through(database_url) >= BEGUN + 4 * MINUTE)
        exchange.rest_is_away = True
        cuts = exchange.cuts
        await until(lambda: exchange.cuts >= cuts + 2)
    exchange.rest_is_away = False
    through = BEGUN + 35 * MINUTE
    async with collecting(exchange, database_url, bus):
        await until(lambda: closed_through(database_url) >= through)
        await until(lambda: not rows_of(database_url, "SELECT 1 FROM market_data WHERE provisional"))
    await bus.close()
    assert_complete(database_url, tape, BEGUN, through)
    assert rows_of(database_url, "SELECT * FROM data_gaps") == []
    assert (
        rows_of(database_url, "SELECT * FROM candle_differences WHERE explanation = 'missing_trades'") == []
    )


class Disagreeing(Unnumbered):
    """Its REST gives the same trades under other ids."""

    async def trade_pages(
        self, symbol: str, start_ms: int, end_ms: int, before_id: int | None = None
    ) -> AsyncGenerator[list[Trade], None]:
        """With the ids of nobody else."""
        async for page in super().trade_pages(symbol, start_ms, end_ms, before_id):
            yield [msgspec.structs.replace(trade, trade_id=trade.trade_id ^ 1 << 20) for trade in page]


async def test_trades_that_go_by_two_ids_are_not_counted_twice(database_url: str, redis_url: str):
    """They are recognised when both ways meet, after the first minute at the latest; people are told."""
    tape = unnumbered(tape_of(130, MIDNIGHT))
    exchange, bus = Disagreeing(tape, BEGUN, SPEED), RedisBus(redis_url)
    events: list[str] = []
    through = BEGUN + 20 * MINUTE
    async with collecting(exchange, database_url, bus, lambda level, event, text: events.append(event)):
        await until(lambda: closed_through(database_url) >= through)
    await bus.close()
    assert exchange.cuts >= 2
    assert "trades_may_be_missing" in events
    for symbol in ("BTC-USDT", "ETH-USDT"):
        ours = trades_frame([trade for trade in tape if trade.symbol == symbol])
        truth = {row[0]: row for row in candles_of(ours, Timeframe.M1, through)}
        own = stored_candles(database_url, symbol, Timeframe.M1, True)
        # The start takes what happened so far from both; a second of it is five minutes of the market.
        assert [row[0] for row in own[5:] if row[0] in truth and row[5] > truth[row[0]][5]] == []


class Forgetful(Unnumbered):
    """Loses some trades without a sign, and is never cut."""

    async def run(
        self,
        symbols: Sequence[str],
        on_trades: Callable[[list[Trade]], None],
        on_state: Callable[[str, str], None],
    ) -> None:
        """The feed."""
        on_state("live", "")
        sent = self._count()
        while True:
            await asyncio.sleep(0.005)
            until_now = self._count()
            if frame := [trade for n, trade in enumerate(self.tape[sent:until_now], sent) if n % 40]:
                on_trades(frame)
            sent = until_now


async def test_what_nobody_noticed_is_put_right_by_comparison(database_url: str, redis_url: str):
    """Trades lost without a sign: the exchange's candles differ, its trades of those minutes are fetched, and
    ours become what they make."""
    tape = unnumbered(tape_of(130, MIDNIGHT))
    exchange, bus = Forgetful(tape, BEGUN, SPEED), RedisBus(redis_url)
    through = BEGUN + 20 * MINUTE
    mended = "SELECT symbol, (extract(epoch FROM timestamp) * 1000)::bigint FROM candle_differences WHERE "
    mended += "explanation = 'missing_trades' AND resolution = 'completed' AND timeframe = '1m'"
    async with collecting(exchange, database_url, bus):
        await until(lambda: closed_through(database_url) >= through)
        await until(lambda: len(rows_of(database_url, mended)) >= 5)
    await bus.close()
    for symbol, close_ms in rows_of(database_url, mended):
        ours = trades_frame([trade for trade in tape if trade.symbol == symbol])
        truth = {row[0]: row for row in candles_of(ours, Timeframe.M1, close_ms)}[close_ms]
        stored = {row[0]: row for row in stored_candles(database_url, symbol, Timeframe.M1, False)}
        assert stored[close_ms] == candles_by_sql(database_url, symbol, Timeframe.M1)[close_ms] == truth
