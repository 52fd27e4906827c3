"""The exchange port: every adapter shows the same market, which is the one that the exchange's own rows tell.

Both the native OKX adapter and ccxt's OKX behind our port are asked about one simulated exchange, and each
answer is compared with its raw rows.
"""

from decimal import Decimal
from typing import Any

import pytest

from core.candles import Candle
from core.errors import BadInput, Unavailable
from core.instruments import Instrument
from core.timeframes import Timeframe
from pipelines.exchanges.okx.rest import BARS
from tests.exchange_port import ADAPTERS, START_MS, Adapter, asking, raw, raw_trades, trade_of

MINUTE, DAY = 60_000, 86_400_000

pytestmark = pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=list(ADAPTERS))


async def test_instruments_are_those_of_the_exchange(adapter: Adapter):
    """Names, tick, lot and minimum of every spot pair, exact."""
    async with asking(adapter) as (sim, rest):
        rows = await raw(sim, "public/instruments", instType="SPOT")
        assert sorted(await rest.instruments(), key=lambda i: i.symbol) == [
            Instrument(
                row["instId"],
                row["baseCcy"],
                row["quoteCcy"],
                Decimal(row["tickSz"]),
                Decimal(row["lotSz"]),
                Decimal(row["minSz"]),
                row["state"],
            )
            for row in sorted(rows, key=lambda row: row["instId"])
        ]
        assert len(rows) > 3
        assert rest.consecutive_ids


async def test_the_time_is_the_exchanges(adapter: Adapter):
    """Virtual here, months away from this machine's."""
    async with asking(adapter) as (sim, rest):
        before = sim.now_ms()
        assert before <= await rest.server_time_ms() <= sim.now_ms()


@pytest.mark.parametrize("timeframe", list(Timeframe))
async def test_candles_equal_the_exchanges_rows_to_the_digit(adapter: Adapter, timeframe: Timeframe):
    """Labelled by their close, every one once, oldest first, over several pages; days are UTC days."""
    wanted = 700 if timeframe is Timeframe.M1 else 40
    async with asking(adapter) as (sim, rest):
        end = timeframe.open_ms(START_MS) - 2 * timeframe.ms
        start = end - wanted * timeframe.ms
        rows: list[list[str]] = []
        while len(rows) < wanted:
            after = int(rows[-1][0]) if rows else end
            rows += await raw(
                sim,
                "market/history-candles",
                instId="BTC-USDT",
                bar=BARS[timeframe],
                after=after,
                limit=min(300, wanted - len(rows)),
            )
        expected = [
            Candle(
                "BTC-USDT",
                timeframe,
                int(row[0]) + timeframe.ms,
                *map(Decimal, row[1:6]),  # type: ignore[arg-type]
                source="exchange",
            )
            for row in reversed(rows)
        ]
        assert await rest.candles("BTC-USDT", timeframe, start, end) == expected
        assert expected[0].close_ms == start + timeframe.ms and expected[-1].close_ms == end
        # A beginning and an end inside candles ask for those that close between them.
        inside = await rest.candles("BTC-USDT", timeframe, start + 1, end - 1)
        assert inside == expected[:-1]


@pytest.mark.parametrize("faults", [{}, {"late_candle": {"share": 1.0, "by_s": 90}}], ids=["", "late"])
async def test_no_running_candle_and_every_confirmed_one(adapter: Adapter, faults: dict[str, Any]):
    """Up to the future and beyond: what is there ends with the last row that the exchange calls confirmed."""
    now = START_MS - 40_000  # 16 s into a minute
    since = now - 10 * MINUTE
    async with asking(adapter, faults=faults, start_ms=now) as (sim, rest):
        found = await rest.candles("ETH-USDT", Timeframe.M1, since, now + DAY)
        rows = await raw(sim, "market/candles", instId="ETH-USDT", bar="1m", limit=20)
        closes = [int(row[0]) + MINUTE for row in rows if row[8] == "1"]
        confirmed = [close_ms for close_ms in closes if close_ms > since]
        assert [candle.close_ms for candle in found] == confirmed[::-1]
        assert len(found) == (8 if faults else 10)


async def test_recent_trades_equal_the_exchanges_rows(adapter: Adapter):
    """The newest 500, or fewer when fewer are asked for, oldest first."""
    async with asking(adapter, speed=0.001) as (sim, rest):
        rows = await raw(sim, "market/trades", instId="SOL-USDT", limit=500)
        expected = [trade_of(row) for row in reversed(rows)]
        assert len(expected) == 500
        assert await rest.recent_trades("SOL-USDT") == expected
        assert await rest.recent_trades("SOL-USDT", 7) == expected[-7:]


async def test_trades_by_id_equal_the_exchanges_rows(adapter: Adapter):
    """1,234 ids over a dozen pages, the newest included; those of the future are left out."""
    async with asking(adapter, speed=0.001) as (sim, rest):
        newest = int((await raw(sim, "market/trades", instId="BTC-USDT", limit=1))[0]["tradeId"])
        expected = await raw_trades(sim, "BTC-USDT", newest - 1_233, newest)
        assert await rest.trades_by_id("BTC-USDT", newest - 1_233, newest) == expected
        assert await rest.trades_by_id("BTC-USDT", newest - 4, newest + 100_000) == expected[-5:]
        assert await rest.trades_by_id("BTC-USDT", newest + 10, newest + 20) == []


async def test_pages_by_time_hold_exactly_the_range(adapter: Adapter):
    """The newest page first, oldest first inside; with `before_id` only smaller ids."""
    start, end = START_MS - 3_600_000, START_MS - 1_800_000
    async with asking(adapter) as (sim, rest):
        pages = [page async for page in rest.trade_pages("BTC-USDT", start, end)]
        found = [trade for page in reversed(pages) for trade in page]
        first, last = found[0].trade_id, found[-1].trade_id
        around = await raw_trades(sim, "BTC-USDT", first - 1, last + 1)
        assert found == around[1:-1]
        assert around[0].timestamp_ms < start and around[-1].timestamp_ms >= end
        middle = found[len(found) // 2].trade_id
        earlier = [page async for page in rest.trade_pages("BTC-USDT", start, end, middle)]
        assert [t for page in reversed(earlier) for t in page] == [t for t in found if t.trade_id < middle]


@pytest.mark.parametrize("ask", ["candles", "recent_trades"])
async def test_a_symbol_that_is_not_listed_is_named(adapter: Adapter, ask: str):
    """It is the caller's mistake, and not tried again."""
    arguments = (Timeframe.M1, START_MS - DAY, START_MS) if ask == "candles" else ()
    async with asking(adapter) as (_, rest):
        with pytest.raises(BadInput, match="NOPE-USDT"):
            await getattr(rest, ask)("NOPE-USDT", *arguments)


async def test_passing_refusals_are_not_seen_outside(adapter: Adapter):
    """One answer in five is 429 and one in ten 500: what is asked for comes all the same, and is complete."""
    async with asking(adapter, faults={"seed": 4, "http_429": 0.2, "http_500": 0.1}) as (_, rest):
        end = START_MS - START_MS % MINUTE
        candles = await rest.candles("BTC-USDT", Timeframe.M1, end - 3_000 * MINUTE, end)
        assert len(candles) == 3_000
        newest = (await rest.recent_trades("BTC-USDT"))[-1].trade_id
        assert len(await rest.trades_by_id("BTC-USDT", newest - 1_999, newest)) == 2_000


@pytest.mark.parametrize("fault", ["http_429", "http_500"])
async def test_a_lasting_refusal_is_unavailable(adapter: Adapter, fault: str):
    """It is given up after some attempts, with an error of ours."""
    async with asking(adapter, faults={fault: 1.0}) as (_, rest):
        with pytest.raises(Unavailable, match="attempts"):
            await rest.recent_trades("BTC-USDT")


async def test_nobody_there_is_unavailable(adapter: Adapter, unused_port: int):
    """A refused connection is named with the exchange or its address."""
    rest = adapter.rest(f"http://127.0.0.1:{unused_port}")
    with pytest.raises(Unavailable, match=r"okx|127\.0\.0\.1"):
        await rest.server_time_ms()
    await rest.close()


async def test_closing_twice_is_harmless_and_nothing_stays_open(adapter: Adapter):
    """Unclosed sessions would fail this suite as warnings."""
    async with asking(adapter) as (_, rest):
        await rest.server_time_ms()
        await rest.close()
