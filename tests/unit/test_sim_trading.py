"""Accounts and matching of the simulated exchange, without clock and network."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.exchanges.sim.book import Book
from pipelines.exchanges.sim.days import DayTrades
from pipelines.exchanges.sim.specs import SymbolSpec
from pipelines.exchanges.sim.trading.account import Account, Fees
from pipelines.exchanges.sim.trading.orders import Order, Rejected, State, parse_ticket
from pipelines.exchanges.sim.trading.trader import Trader

SPEC = SymbolSpec("BTC-USDT", 1, 4, 10)  # tick 0.1, lot 0.0001, at least 0.001
FEES = Fees(Decimal("0.0008"), Decimal("0.001"))


class StillMarket:
    """Bids of 1 BTC at 99.9 and 99.8, offers of 1 BTC at 100 and 100.1; the last price can be set."""

    def __init__(self) -> None:
        self.price = 1_000

    def book(self, symbol: str, now_ms: int) -> Book:
        return Book({999: (10_000, 1), 998: (10_000, 1)}, {1_000: (10_000, 1), 1_001: (10_000, 1)}, now_ms, 1)

    def last(self, symbol: str, now_ms: int) -> int:
        return self.price


def trader(usdt: str = "1000", btc: str = "5") -> Trader:
    ids: Iterator[int] = count(1)
    cash = {"USDT": Decimal(usdt), "BTC": Decimal(btc)}
    return Trader(Account("1", cash, FEES, StillMarket(), lambda at: str(next(ids))))


def order(who: Trader, side: str, kind: str, size: str, px: str = "", **more: Any) -> Order:
    args = {"tdMode": "cash", "side": side, "ordType": kind, "sz": size, "px": px, **more}
    return who.account.place(parse_ticket(SPEC, args), 5)


def trades(*rows: tuple[int, int]) -> DayTrades:
    price, size = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    numbers = np.arange(1, len(rows) + 1, dtype=np.int64)
    flags = np.ones(len(rows), np.bool_)
    return DayTrades(numbers, numbers + 10, price, size, flags, flags)


def algo(who: Trader, last: int = 1_000, **args: Any) -> str:
    full = {"tdMode": "cash", "sz": "0.5", "side": "sell", **args}
    return who.place_algo(SPEC, full, last, f"a{len(who.algos)}", 5).algo_id


def test_a_market_buy_is_sized_in_quote_currency_unless_told_otherwise():
    """50 USDT at 100 are half a bitcoin, of which the fee is kept."""
    who = trader()
    bought = order(who, "buy", "market", "50")
    assert (bought.state, bought.filled, bought.fee) == (State.FILLED, 5_000, Decimal("0.0005"))
    assert who.account.cash == {"USDT": Decimal(950), "BTC": Decimal("5.4995")}
    other = order(who, "buy", "market", "0.5", tgtCcy="base_ccy")
    assert other.filled == 5_000


def test_a_market_order_walks_the_book():
    """1.5 BTC cost a whole level and half of the next one."""
    who = trader()
    bought = order(who, "buy", "market", "1.5", tgtCcy="base_ccy")
    assert [(fill.price, fill.size) for fill in who.account.fills] == [(1_000, 10_000), (1_001, 5_000)]
    assert bought.value == 1_000 * 10_000 + 1_001 * 5_000


def test_a_market_order_is_made_smaller_unless_that_is_banned():
    """The balance buys 0.5 BTC; with banAmend nothing is bought."""
    who = trader(usdt="50")
    with pytest.raises(Rejected, match="Insufficient USDT"):
        order(who, "buy", "market", "1", tgtCcy="base_ccy", banAmend=True)
    shrunk = order(who, "buy", "market", "1", tgtCcy="base_ccy")
    assert (shrunk.filled, shrunk.state, who.account.cash["USDT"]) == (5_000, State.CANCELED, 0)


def test_limit_orders_take_what_crosses_and_rest_with_the_remainder():
    """The first level is taken at its own price, the rest waits and keeps its money."""
    who = trader()
    bought = order(who, "buy", "limit", "1.5", "100")
    assert (bought.state, bought.filled) == (State.PARTIALLY_FILLED, 10_000)
    assert who.account.reserved("USDT") == Decimal("50")
    with pytest.raises(Rejected) as refusal:
        order(who, "buy", "limit", "9", "99")
    assert refusal.value.code == "51008"


@pytest.mark.parametrize(
    ("kind", "size", "px", "state", "filled"),
    [
        ("post_only", "1", "100", State.CANCELED, 0),
        ("post_only", "1", "99.9", State.LIVE, 0),
        ("fok", "1.5", "100", State.CANCELED, 0),
        ("fok", "1.5", "100.1", State.FILLED, 15_000),
        ("ioc", "1.5", "100", State.CANCELED, 10_000),
    ],
)
def test_each_order_type_treats_the_book_as_it_should(kind, size, px, state, filled):
    """post_only never takes, fok takes all or nothing, ioc takes what there is."""
    placed = order(trader(), "buy", kind, size, px)
    assert (placed.state, placed.filled) == (state, filled)


def test_a_resting_order_is_filled_only_by_trades_that_go_through_it():
    """A trade at the order's price fills nothing; one below fills its own size, at the order's price."""
    who = trader()
    resting = order(who, "buy", "limit", "1", "99")
    who.walk("BTC-USDT", trades((990, 50_000)))
    assert resting.filled == 0
    who.walk("BTC-USDT", trades((989, 4_000), (1_000, 9_000), (988, 9_000)))
    assert [(f.price, f.size, f.taker, f.ts) for f in who.account.fills] == [
        (990, 4_000, False, 11),
        (990, 6_000, False, 13),
    ]
    assert resting.state is State.FILLED and resting.fee == Decimal("0.0008")


def test_one_trade_fills_no_more_than_its_size_over_all_orders():
    """The better price is served first, then the older order."""
    who = trader()
    first, second, better = (order(who, "buy", "limit", "1", px) for px in ("98", "98", "99"))
    who.walk("BTC-USDT", trades((970, 15_000)))
    assert (better.filled, first.filled, second.filled) == (10_000, 5_000, 0)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"sz": "0.00015"}, "51121"),
        ({"sz": "0.0005"}, "51020"),
        ({"sz": "NaN"}, "51000"),
        ({"sz": "-1"}, "51000"),
        ({"sz": "1e999999"}, "51000"),
        ({"px": "98.05"}, "51000"),
        ({"px": ""}, "51204"),
        ({"side": "hold"}, "51000"),
        ({"ordType": "stop"}, "51000"),
        ({"tdMode": "cross"}, "51000"),
        ({"clOrdId": "a-b"}, "51000"),
        ({"clOrdId": "a" * 33}, "51000"),
        ({"tag": "a" * 17}, "51000"),
        ({"px": "99999999", "sz": "1000"}, "51203"),
    ],
)
def test_malformed_orders_are_refused_with_the_exchanges_code(args, code):
    """Lot, minimum, tick, names and ids are checked before any money is."""
    good = {"tdMode": "cash", "side": "buy", "ordType": "limit", "sz": "1", "px": "98"}
    parse_ticket(SPEC, good)
    with pytest.raises(Rejected) as refusal:
        parse_ticket(SPEC, good | args)
    assert refusal.value.code == code


def test_a_client_id_is_unique_among_pending_orders_only():
    """After the first order is cancelled its id can be used again."""
    who = trader()
    first = order(who, "buy", "limit", "1", "98", clOrdId="mine")
    with pytest.raises(Rejected, match="already exists"):
        order(who, "buy", "limit", "1", "98", clOrdId="mine")
    who.account.cancel(first, 6)
    second = order(who, "buy", "limit", "1", "98", clOrdId="mine")
    assert who.account.find(cl_ord_id="mine") is second


def test_an_amended_order_keeps_its_fills_and_needs_its_money():
    """A new price that crosses trades at once; one that costs too much changes nothing."""
    who = trader()
    resting = order(who, "buy", "limit", "1", "98")
    with pytest.raises(Rejected, match="Insufficient"):
        who.account.amend(resting, 6, None, 200_000)
    assert resting.size == 10_000 and who.account.reserved("USDT") == 98
    who.account.amend(resting, 7, 1_000, 5_000)
    assert (resting.state, resting.filled) == (State.FILLED, 5_000)


def test_a_stop_fires_once_when_the_price_reaches_it():
    """The algo order ends as effective, and the order it placed is a market order."""
    who = trader()
    ident = algo(who, ordType="conditional", slTriggerPx="95", slOrdPx="-1")
    who.walk("BTC-USDT", trades((951, 1), (950, 1), (940, 1)))
    assert who.algos == {} and who.done_algos[0].state == "effective"
    (sold,) = who.account.done
    assert (sold.ticket.algo_id, sold.filled, sold.created_ms) == (ident, 5_000, 12)


def test_of_a_conditional_order_with_both_only_the_stop_works_and_oco_does_both():
    """The take-profit of a conditional order with a stop-loss never fires."""
    both = {"tpTriggerPx": "105", "tpOrdPx": "-1", "slTriggerPx": "95", "slOrdPx": "-1"}
    who = trader()
    algo(who, ordType="conditional", **both)
    algo(who, ordType="oco", **both)
    who.walk("BTC-USDT", trades((1_060, 1)))
    assert [a.kind for a in who.algos.values()] == ["conditional"]
    assert who.done_algos[0].fired_side == "tp"


def test_a_trailing_stop_follows_the_price_and_fires_on_the_way_back():
    """10 % behind a top of 200 is 180."""
    who = trader()
    algo(who, ordType="move_order_stop", callbackRatio="0.1")
    who.walk("BTC-USDT", trades((1_500, 1), (2_000, 1), (1_810, 1), (1_800, 1)))
    assert who.done_algos[0].state == "effective" and who.done_algos[0].triggered_ms == 14


def test_a_trigger_that_the_balance_does_not_cover_fails():
    """The algo order says why, and nothing is sold."""
    who = trader(btc="0")
    algo(who, ordType="trigger", triggerPx="95", orderPx="-1")
    who.walk("BTC-USDT", trades((940, 1)))
    assert (who.done_algos[0].state, who.done_algos[0].fail_code) == ("order_failed", "51008")


def test_a_stop_on_the_wrong_side_of_the_price_is_refused():
    """A stop-loss of a sale above the last price would fire at once."""
    with pytest.raises(Rejected) as refusal:
        algo(trader(), ordType="conditional", slTriggerPx="101", slOrdPx="-1")
    assert refusal.value.code == "51280"


steps = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell"]),
        st.sampled_from(["market", "limit", "post_only", "fok", "ioc"]),
        st.integers(1, 30_000),
        st.integers(950, 1_050),
        st.booleans(),
    ),
    max_size=30,
)


@given(steps, st.lists(st.tuples(st.integers(940, 1_060), st.integers(1, 20_000)), min_size=1), st.data())
def test_money_is_conserved_and_never_negative(placed, market, data):
    """Balances are the starting ones plus fills less fees, whatever is placed, and cut anywhere alike."""
    cut = data.draw(st.integers(0, len(market)))
    pair = trader(), trader()
    for who in pair:
        for side, kind, size, price, by_base in placed:
            unit = {"tgtCcy": "base_ccy"} if by_base else {}
            try:
                order(who, side, kind, SPEC.size_text(size), SPEC.price_text(price), **unit)
            except Rejected:
                continue
    whole = trades(*market)
    pair[0].walk("BTC-USDT", whole)
    pair[1].walk("BTC-USDT", whole.part(0, cut))
    pair[1].walk("BTC-USDT", whole.part(cut, len(whole)))
    account = pair[0].account
    assert account.cash == pair[1].account.cash
    expected = {"USDT": Decimal(1_000), "BTC": Decimal(5)}
    for fill in account.fills:
        sign = 1 if fill.order.ticket.side == "buy" else -1
        expected["BTC"] += sign * Decimal(fill.size) / 10**4
        expected["USDT"] -= sign * Decimal(fill.size * fill.price) / 10**5
        expected[fill.fee_currency] -= fill.fee
    assert account.cash == expected
    assert all(account.available(name) >= 0 for name in expected)
    assert all(o.filled <= o.size for o in (*account.open.values(), *account.done))
