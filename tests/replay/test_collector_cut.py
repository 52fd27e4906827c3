"""A feed that is cut at the end of a minute, beside a REST that lags: what is final then is complete."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import text

from core.trades import Trade
from pipelines.bus.memory import MemoryBus
from pipelines.warehouse.database import engine as engine_of
from tests.collecting import MIDNIGHT, assert_complete, closed_through, collecting, tape_of
from tests.exchange import FakeExchange, aggregated
from tests.waiting import until

pytestmark = pytest.mark.servers

SPEED = 20.0
CUT_MS = MIDNIGHT + 170_000, MIDNIGHT + 210_000
LAG_MS = 20_000


class CutExchange(FakeExchange):
    """Its feed brings nothing of `CUT_MS` and says so; its REST is a real second behind."""

    async def run(
        self,
        symbols: Sequence[str],
        on_trades: Callable[[list[Trade]], None],
        on_state: Callable[[str, str], None],
    ) -> None:
        times = [trade.timestamp_ms for trade in self.tape]
        state, sent = "", bisect_right(times, self.now_ms())
        while True:
            now_ms = self.now_ms()
            now = "reconnecting" if CUT_MS[0] <= now_ms < CUT_MS[1] else "live"
            if now != state:
                state = now
                on_state(state, "")
            until_ = bisect_right(times, now_ms)
            frame = list(aggregated(self.tape[sent:until_]))
            sent = until_
            if frame and state == "live" and not CUT_MS[0] <= frame[0].timestamp_ms < CUT_MS[1]:
                on_trades(frame)
            await asyncio.sleep(0.005)

    def _until_now(self, symbol: str) -> list[Trade]:
        return [t for t in super()._until_now(symbol) if t.timestamp_ms <= self.now_ms() - LAG_MS]


async def test_a_minute_whose_end_the_feed_did_not_see_is_not_final_before_a_lagging_rest_shows_it(
    database_url: str,
) -> None:
    tape = tape_of(minutes=12, start_ms=MIDNIGHT - 120_000, seed=3)
    exchange = CutExchange(tape, MIDNIGHT + 10_000, SPEED)
    async with collecting(exchange, database_url, MemoryBus()):
        await until(lambda: closed_through(database_url) >= MIDNIGHT + 5 * 60_000)
    assert_complete(database_url, tape, MIDNIGHT - 120_000, MIDNIGHT + 5 * 60_000)
    with engine_of(database_url).connect() as connection:
        assert connection.execute(text("SELECT max(revision) FROM market_data")).scalar() == 0
