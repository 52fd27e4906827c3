"""The refiller at an exchange that lacks trades, lags behind its feed, or does not answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

from core.clock import Clock
from core.continuity import Continuity, Gap
from core.errors import BadInput, Unavailable
from core.trades import Side, Trade
from live.collector.batch import GapRecord
from live.collector.refill import GIVE_UP_AFTER, Refiller

SYMBOL = "BTC-USDT"


def trade(trade_id: int) -> Trade:
    return Trade(SYMBOL, trade_id, 1_000 + trade_id, Decimal(1), Decimal(1), Side.BUY)


class Noon(Clock):
    """Stands still."""

    def now_ms(self) -> int:
        return 43_200_000


class Rest:
    """Has the ids of `has`, up to `through`."""

    def __init__(self, has: Sequence[int], through: int = 100) -> None:
        self.has, self.through, self.asked = set(has), through, 0
        self.is_away = self.is_delisted = False

    async def trades_by_id(self, symbol: str, first_id: int, last_id: int) -> list[Trade]:
        self.asked += 1
        if self.is_delisted:
            raise BadInput("symbol", "is not listed by the exchange")
        if self.is_away:
            raise Unavailable("away")
        return [trade(n) for n in range(first_id, last_id + 1) if n in self.has and n <= self.through]

    async def recent_trades(self, symbol: str, limit: int = 500) -> list[Trade]:
        return [trade(self.through)]


class Bench:
    """A refiller behind a sequence that reads 1 … 4, 10 … 100."""

    def __init__(self, rest: Rest, adopted=(), lasting_s: float = 60.0) -> None:
        self.rest = rest
        self.continuity = Continuity(4, 1_004)
        self.continuity.take([trade(n) for n in range(10, 101)])
        self.ledger: list[GapRecord] = []
        self.events: list[tuple[str, str]] = []
        self.taken: list[int] = []
        self.refiller = Refiller(
            SYMBOL,
            self.continuity,
            rest,  # type: ignore[arg-type]
            Noon(),
            self.take,
            self.ledger.append,
            lambda level, event, text: self.events.append((level, event)),
            adopted,
            retry_s=(0.001,),
            lagging_s=0.001,
            lasting_s=lasting_s,
        )

    def take(self, trades: Sequence[Trade]) -> None:
        self.taken += [new.trade_id for new in self.continuity.take(trades)]

    def states(self) -> list[tuple]:
        return [(row.first_id, row.last_id, row.state, row.by) for row in self.ledger]

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.refiller.run())
        self.refiller.wake()
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)


async def test_a_hole_is_open_then_refilling_then_refilled():
    bench = Bench(Rest(range(1, 101)))
    async with bench.at_work():
        await bench.until(lambda: len(bench.ledger) == 3)
    assert bench.taken == [5, 6, 7, 8, 9]
    assert bench.states() == [
        (5, 9, "open", "start"),
        (5, 9, "refilling", "refill"),
        (5, 9, "refilled", "refill"),
    ]


async def test_a_hole_of_which_a_part_does_not_exist_is_not_called_refilled():
    bench = Bench(Rest([5, 6, 8, 9]))
    async with bench.at_work():
        await bench.until(lambda: bench.events)
    assert bench.taken == [5, 6, 8, 9]
    assert bench.rest.asked == 1 + GIVE_UP_AFTER
    assert bench.states()[2:] == [(7, 7, "unfillable", "refill"), (5, 9, "unfillable", "refill")]
    assert bench.ledger[-1].note == "the exchange does not have 1 of these 5 ids"
    assert bench.events == [("warning", "gap_unfillable")]


async def test_a_history_that_lags_behind_the_feed_is_waited_for():
    bench = Bench(Rest(range(1, 101), through=9))
    bench.rest.has -= {5, 6, 7, 8, 9}
    async with bench.at_work():
        await bench.until(lambda: bench.rest.asked > 3 * GIVE_UP_AFTER)
        assert bench.continuity.gaps == [Gap(5, 9, 1_004, 1_010)]
        bench.rest.has |= set(range(5, 10))
        await bench.until(lambda: not bench.continuity.gaps)
    assert bench.events == []


async def test_people_are_told_once_of_a_hole_that_stays_open():
    bench = Bench(Rest(range(1, 101), through=9), lasting_s=0.02)
    bench.rest.has -= set(range(5, 10))
    async with bench.at_work():
        await bench.until(lambda: bench.events)
        asked = bench.rest.asked
        await bench.until(lambda: bench.rest.asked > asked + 10)
    assert bench.events == [("warning", "gap_open")]


async def test_a_row_that_was_left_open_is_closed_as_that_row():
    bench = Bench(Rest(range(1, 101)), adopted=[(2, 7)])
    async with bench.at_work():
        await bench.until(lambda: len(bench.ledger) == 6)
    closed = [row[:3] for row in bench.states() if row[2] == "refilled"]
    assert closed == [(2, 7, "refilled"), (8, 9, "refilled")]
    assert sorted(bench.taken) == [5, 6, 7, 8, 9]


async def test_a_row_whose_end_the_feed_has_not_reached_waits_for_it():
    bench = Bench(Rest(range(1, 201), through=200), adopted=[(98, 105)])
    async with bench.at_work():
        await bench.until(lambda: len(bench.ledger) == 3)
        assert [row[:2] for row in bench.states()] == [(5, 9)] * 3
        bench.continuity.take([trade(110)])
        bench.refiller.wake()
        await bench.until(lambda: len(bench.ledger) == 9)
    assert [row[:3] for row in bench.states()][3:6] == [
        (98, 105, "open"),
        (98, 105, "refilling"),
        (98, 105, "refilled"),
    ]


async def test_an_exchange_that_does_not_answer_says_nothing_about_the_ids():
    bench = Bench(Rest(range(1, 101)))
    bench.rest.is_away = True
    async with bench.at_work():
        await bench.until(lambda: bench.rest.asked >= 2)
        assert bench.states()[-1][2] == "refilling"
        bench.rest.is_away = False
        await bench.until(lambda: not bench.continuity.gaps)
    assert bench.events == []


async def test_an_exchange_that_does_not_list_the_symbol_for_a_while_is_asked_again():
    bench = Bench(Rest(range(1, 101)))
    bench.rest.is_delisted = True
    async with bench.at_work():
        await bench.until(lambda: bench.rest.asked)
        bench.rest.is_delisted = False
        await bench.until(lambda: len(bench.ledger) == 3)
    assert bench.taken == [5, 6, 7, 8, 9]
