"""The pure parts of the port over ccxt: names, steps, ids, candles, errors."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import ccxt
import pytest

from core.candles import Candle
from core.errors import BadInput, Unavailable
from core.timeframes import Timeframe
from core.trades import Side, Trade
from pipelines.exchanges.base import TooOld
from pipelines.exchanges.ccxt import markets
from pipelines.exchanges.ccxt.candles import candles, merged, on_boundaries, source_of
from pipelines.exchanges.ccxt.client import exchange_class, open_exchange
from pipelines.exchanges.ccxt.paging import WINDOW_MS, pages_by_time
from pipelines.exchanges.ccxt.requests import Caller, translated
from pipelines.exchanges.ccxt.trades import LOW_BITS, time_id, time_of, trades
from pipelines.exchanges.ccxt.traits import Traits, traits_of

T0 = 1_789_000_000_000
MINUTE, HOUR = 60_000, 3_600_000


def market(base: str, price: Any, amount: Any, smallest: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "spot": True,
        "symbol": f"{base}/USD",
        "base": base,
        "quote": "USD",
        "active": True,
        "precision": {"price": price, "amount": amount},
        "limits": {"amount": {"min": smallest}},
        **more,
    }


def test_instruments_of_every_way_to_count_precision():
    """Steps as they are, decimal places as steps; a pair counted in significant digits has no fixed tick."""
    (listed,) = markets.instruments(
        [market("BTC", Decimal("0.1"), Decimal("1e-8"), "0.0001")], ccxt.TICK_SIZE
    )
    assert (listed.tick_size, listed.lot_size, listed.min_size) == (
        Decimal("0.1"),
        Decimal("0.00000001"),
        Decimal("0.0001"),
    )
    (listed,) = markets.instruments([market("BTC", Decimal(2), 8)], ccxt.DECIMAL_PLACES)
    assert (listed.tick_size, listed.lot_size, listed.min_size) == (
        Decimal("0.01"),
        Decimal("0.00000001"),
        Decimal("0.00000001"),
    )
    assert markets.instruments([market("BTC", 5, 8)], ccxt.SIGNIFICANT_DIGITS) == []


def test_only_spot_pairs_are_listed_and_odd_ones_hide_none():
    """Derivatives are left out; so is a pair without a tick; a closed one is suspended."""
    listed = markets.instruments(
        [
            market("A", None, "1"),
            market("B", "1", "1", active=False),
            market("C", "1", "1", spot=False),
            market("D", "1", "1"),
        ],
        ccxt.TICK_SIZE,
    )
    assert [(i.symbol, i.state) for i in listed] == [("B-USD", "suspend"), ("D-USD", "live")]


def test_an_unlisted_pair_is_named_with_its_neighbours():
    """What the user may have meant."""
    names = markets.pairs([market("BTC", 1, 1), market("ETH", 1, 1)])
    assert markets.listed("BTC-USD", names, "kraken") == "BTC/USD"
    with pytest.raises(BadInput, match=r"'BTC-USDT' is not a spot pair of kraken; it lists BTC-USD$"):
        markets.listed("BTC-USDT", names, "kraken")


def row(
    trade_id: str | None, at_ms: int = T0, price: Any = "1.50", amount: Any = "2", **more: Any
) -> dict[str, Any]:
    return {"id": trade_id, "timestamp": at_ms, "price": price, "amount": amount, "side": "sell", **more}


def test_numbered_trades_keep_their_ids_and_counts():
    """The count is taken from the exchange's own row."""
    traits = Traits(consecutive_ids=True, count_field="count")
    assert trades([row("17", info={"count": "3"}), row("14", info={})], "A-B", "websocket", traits) == [
        Trade("A-B", 14, T0, Decimal("1.5"), Decimal(2), Side.SELL, 1, "websocket"),
        Trade("A-B", 17, T0, Decimal("1.5"), Decimal(2), Side.SELL, 3, "websocket"),
    ]


def test_other_ids_become_numbers_in_the_order_of_time():
    """The same from wherever they come, different within a millisecond, and they fit into 63 bits."""
    texts = [row(text, T0 + n // 2) for n, text in enumerate(["b-1", "a-2", "zz", "17", "18", "x" * 40])]
    found = trades(reversed(texts), "A-B", "rest", Traits())
    assert [t.timestamp_ms for t in found] == sorted(t.timestamp_ms for t in found)
    assert len({t.trade_id for t in found}) == len(texts)
    assert [t.trade_id for t in trades(texts, "A-B", "websocket", Traits())] == [t.trade_id for t in found]
    assert all(time_of(t.trade_id) == t.timestamp_ms for t in found)
    assert time_id(4_102_444_800_000, "9" * 30) < 1 << 63  # the year 2100
    assert time_id(T0, "18") == time_id(T0, "17") + 1
    assert time_id(T0 + 1, "0") > time_id(T0, str((1 << LOW_BITS) - 1))


def test_trades_without_an_id_are_told_apart_by_what_they_are():
    """One id for equal ones, also when zeros are written differently."""
    found = trades([row(None), row(None, price="1.5"), row(None, amount="3")], "A-B", "rest", Traits())
    assert len({t.trade_id for t in found}) == 2


@pytest.mark.parametrize(
    "bad",
    [
        row("1", price=None),
        row("1", price="NaN"),
        row("1", amount="0"),
        row("1", amount="-1"),
        row("x"),
        row(None),
        {**row("1"), "side": None},
        {**row("1"), "timestamp": None},
    ],
)
def test_a_row_that_is_no_trade_is_an_error(bad: dict[str, Any]):
    """It is named with its symbol, and nothing is made up for what is missing."""
    with pytest.raises(Unavailable, match="A-B: the exchange sent no trade"):
        trades([bad], "A-B", "rest", Traits(consecutive_ids=True))


def candle(close_ms: int, timeframe: Timeframe, *numbers: str) -> Candle:
    return Candle("A-B", timeframe, close_ms, *map(Decimal, numbers), source="exchange")  # type: ignore[arg-type]


def test_candles_are_labelled_by_their_close():
    """Numbers are exact; a row without prices is left out."""
    rows = [[T0, "1", "2", "0.5", "1.10", None], [T0 + MINUTE, None, None, None, None, "0"]]
    assert candles(rows, "A-B", Timeframe.M1) == [
        candle(T0 + MINUTE, Timeframe.M1, "1", "2", "0.5", "1.1", "0")
    ]


def test_longer_candles_out_of_shorter_ones():
    """Two hours and a missing one make a four-hour candle; the next begins a new one."""
    start = T0 - T0 % Timeframe.H4.ms
    hours = [
        candle(start + HOUR, Timeframe.H1, "1", "3", "1", "2", "5"),
        candle(start + 4 * HOUR, Timeframe.H1, "2", "2", "0.5", "0.7", "1"),
        candle(start + 5 * HOUR, Timeframe.H1, "7", "7", "7", "7", "7"),
    ]
    assert merged(hours, Timeframe.H4) == [
        candle(start + 4 * HOUR, Timeframe.H4, "1", "3", "0.5", "0.7", "6"),
        candle(start + 8 * HOUR, Timeframe.H4, "7", "7", "7", "7", "7"),
    ]


def test_which_candles_a_timeframe_is_made_of():
    """Itself, else the longest that fits; days that begin elsewhere than at midnight UTC are noticed."""
    assert source_of(Timeframe.H4, ["1m", "1h", "4h"]) is Timeframe.H4
    assert source_of(Timeframe.H4, ["1m", "15m", "6h"]) is Timeframe.M15
    assert source_of(Timeframe.M1, ["5m"]) is None
    day = T0 - T0 % Timeframe.D1.ms
    assert on_boundaries([candle(day, Timeframe.D1, "1", "1", "1", "1", "1")])
    assert not on_boundaries([candle(day - 8 * HOUR, Timeframe.D1, "1", "1", "1", "1", "1")])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ccxt.BadSymbol("x"), BadInput),
        (ccxt.BadRequest("x"), BadInput),
        (ccxt.NotSupported("x"), BadInput),
        (ccxt.AuthenticationError("x"), BadInput),
        (ccxt.RateLimitExceeded("x"), Unavailable),
        (ccxt.ExchangeNotAvailable("x"), Unavailable),
        (ccxt.ExchangeError("x"), Unavailable),
    ],
)
def test_errors_name_the_exchange_and_what_was_asked(error: ccxt.BaseError, kind: type[Exception]):
    """In the product's own terms, on one line of bearable length."""
    found = translated("kraken", "BTC-USD trades", error)
    assert isinstance(found, kind)
    assert "kraken, BTC-USD trades: x" in str(found)
    assert len(str(translated("kraken", "y", ccxt.NetworkError("long\n" * 500)))) < 400


async def test_passing_faults_are_tried_again_with_growing_delays():
    """And lasting ones are not."""
    waits: list[float] = []
    asked: list[ccxt.BaseError] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def answer(error: ccxt.BaseError) -> None:
        asked.append(error)
        raise error

    caller = Caller("kraken", sleep, attempts=4)
    with pytest.raises(Unavailable, match="4 attempts"):
        await caller.call("time", lambda: answer(ccxt.RequestTimeout("slow")))
    assert len(asked) == 4
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1.0 <= waits[2] <= 2.0
    with pytest.raises(BadInput):
        await caller.call("time", lambda: answer(ccxt.BadRequest("no")))
    assert len(asked) == 5


def test_every_exchange_of_ccxt_can_be_made():
    """Each is set up for spot markets with exact numbers; an unknown name lists the remedy."""
    for exchange_id in ccxt.exchanges:
        exchange = open_exchange(exchange_id, traits_of(exchange_id), {})
        assert exchange.id == exchange_id
        assert exchange.parse_number("0.10") == Decimal("0.10")
    with pytest.raises(BadInput, match="'mtgox' is not sim, okx or an exchange of ccxt"):
        exchange_class("mtgox")


def tape(every_ms: int, count: int) -> list[Trade]:
    return [
        Trade("A-B", time_id(T0 + n * every_ms, str(n)), T0 + n * every_ms, Decimal(1), Decimal(1), Side.BUY)
        for n in range(count)
    ]


class Served:
    """An exchange that gives `page` trades at once: from `since` on, or (`newest`) the newest of them."""

    def __init__(self, held: Sequence[Trade], page: int, newest: bool = False) -> None:
        self.held, self.page, self.newest = held, page, newest
        self.asked = 0

    async def since(self, since_ms: int | None) -> list[Trade]:
        self.asked += 1
        held = [t for t in self.held if since_ms is None or t.timestamp_ms >= since_ms]
        return held[-self.page :] if self.newest or since_ms is None else held[: self.page]


async def collected(served: Served, start_ms: int, end_ms: int) -> list[Trade]:
    pages = [page async for page in pages_by_time(served.since, start_ms, end_ms)]
    assert all(a[0].trade_id > b[-1].trade_id for a, b in pairwise(pages))
    return [trade for page in reversed(pages) for trade in page]


@pytest.mark.parametrize("page", [7, 100, 5_000])
async def test_pages_by_time_are_complete(page: int):
    """Over three windows and whatever the exchange gives at once: exactly the trades of the range."""
    held = tape(every_ms=10_000, count=1_500)
    start, end = T0 + 5_000, T0 + 3 * WINDOW_MS
    found = await collected(Served(held, page), start, end)
    assert found == [t for t in held if start <= t.timestamp_ms < end]


async def test_an_exchange_that_only_has_its_newest_trades_is_taken_as_far_as_they_go():
    """Older ones are refused, not left out in silence."""
    served = Served(tape(every_ms=1_000, count=1_000), page=100, newest=True)
    start = T0 + 950_000
    assert len(await collected(served, start, T0 + 1_000_000)) == 50
    with pytest.raises(TooOld, match="gives no trades as old as"):
        await collected(served, T0 + 100_000, T0 + 1_000_000)


async def test_an_exchange_that_answers_nothing_for_the_past_is_not_taken_at_its_word():
    """Nor one that stands still: its newest trades show that there must be more."""
    served = Served(tape(every_ms=1_000, count=1_000), page=100)

    async def nothing(since_ms: int | None) -> list[Trade]:
        return await served.since(since_ms) if since_ms is None else []

    async def stuck(since_ms: int | None) -> list[Trade]:
        return await served.since(None if since_ms is None else T0 + 499_000)

    with pytest.raises(TooOld):
        [page async for page in pages_by_time(nothing, T0 + 500_000, T0 + HOUR)]
    with pytest.raises(Unavailable, match="do not go on"):
        [page async for page in pages_by_time(stuck, T0 + 500_000, T0 + HOUR)]


async def test_a_market_without_trades_is_no_error():
    """Nothing held, nothing found; nothing in the range, nothing found."""
    assert await collected(Served([], 10), T0, T0 + HOUR) == []
    held = tape(every_ms=HOUR, count=5)
    assert await collected(Served(held, 2), T0 + HOUR + 1, T0 + 2 * HOUR) == []
