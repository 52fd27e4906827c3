"""How each kind of order meets prices, and the states it goes through."""

from decimal import Decimal

import pytest
from msgspec import json

from core.accounts import Account, Bar, Entry, Matching, Outcome, Rules, Sizing
from core.candles import Candle
from core.decisions import judge
from core.fills import Costs
from core.instruments import Instrument
from core.matching import could_touch, match, meeting
from core.orders import IllegalOrderMove, Order, OrderStatus, OrderType, advance
from core.portfolio import Portfolio
from core.risk import ExitReason, RiskLimits, RiskState
from core.signals import Signal, SignalType
from core.timeframes import Timeframe
from core.trades import Side

D = Decimal
MINUTE = 60_000
COIN = Instrument("A-USDT", "A", "USDT", D("0.1"), D("0.01"), D("0.1"))
FREE = Costs()


def bar(prices: str, volume: int = 100, n: int = 1) -> Bar:
    """A minute of open, high, low, close."""
    return Bar((n - 1) * MINUTE, n * MINUTE, *map(D, prices.split()), D(volume))


def trade(price: str, number: int, volume: int = 100) -> Bar:
    """A trade as a bar."""
    return Bar(number, number, *(D(price),) * 4, D(volume), number)


def rules(kind: OrderType = OrderType.MARKET, **changes: object) -> Rules:
    """A bot on ticks of 0.1 and lots of 0.01, whose entries wait 5 % away."""
    away = D(0) if kind is OrderType.MARKET else D("0.05")
    values = {
        "bot_name": "b",
        "instrument": COIN,
        "costs": FREE,
        "limits": RiskLimits(),
        "entry": Entry(kind, away, D("0.01") if kind is OrderType.STOP_LIMIT else D(0), expires=2),
        "ticks": True,
    }
    return Rules(**values | changes)  # type: ignore[arg-type]


def account(cash: str = "1000", coins: str = "0", cost: str = "0") -> Account:
    """Without orders."""
    return Account(Portfolio(D(cash), D(coins), D(cost)), RiskState.begin(D(cash)), last_candle_ms=0)


HELD = account("0", "10", "100")
"""Ten coins at an average of 10."""


def judged(
    terms: Rules, before: Account, prices: str, said: str = "hold", n: int = 1, volume: int = 100
) -> Outcome:
    """The n-th minute with the strategy's signal for it."""
    candle = Candle("A-USDT", Timeframe.M1, n * MINUTE, *map(D, prices.split()), D(volume))
    signal = Signal(SignalType(said), n * MINUTE, float(candle.close), 1.0)
    return judge(terms, before, candle, signal, kill_switch=False)


def ordered(kind: OrderType) -> Account:
    """After a buy signal at a close of 100."""
    return judged(rules(kind), account(), "100 100 100 100", "buy").account


def waiting(kind: OrderType) -> Order:
    """The order of that signal."""
    order = ordered(kind).open_order
    assert order is not None
    return order


@pytest.mark.parametrize(
    ("kind", "trigger", "limit"),
    [
        (OrderType.MARKET, None, None),
        (OrderType.LIMIT, D("95.0"), None),
        (OrderType.STOP, D("105.0"), None),
        (OrderType.STOP_LIMIT, D("105.0"), D("106.1")),
    ],
)
def test_an_entry_waits_below_or_above_the_close_on_the_tick(kind, trigger, limit):
    """Five per cent from a close of 100; the limit of a stop-limit one per cent above, rounded up to 0.1."""
    order = waiting(kind)
    assert (order.trigger, order.limit, order.budget) == (trigger, limit, D(1000))
    assert order.expires_ms == (None if kind is OrderType.MARKET else 3 * MINUTE)


@pytest.mark.parametrize(
    ("kind", "prices", "expected"),
    [
        (OrderType.MARKET, "101 102 99 100", ("101", False, False)),
        (OrderType.LIMIT, "100 101 95 100", None),
        (OrderType.LIMIT, "100 101 94.9 100", ("95", True, True)),
        (OrderType.LIMIT, "94 101 93 100", ("94", False, False)),
        (OrderType.STOP, "100 104.9 90 100", None),
        (OrderType.STOP, "100 105 90 100", ("105", True, False)),
        (OrderType.STOP, "107 108 100 100", ("107", False, False)),
        (OrderType.STOP_LIMIT, "100 105 90 100", ("105", True, False)),
        (OrderType.STOP_LIMIT, "106 108 100 100", ("106", False, False)),
        (OrderType.STOP_LIMIT, "107 108 106 107", ("106.1", True, True)),
        (OrderType.STOP_LIMIT, "107 108 106.2 107", None),
    ],
)
def test_where_a_waiting_entry_meets_a_bar(kind, prices, expected):
    """Limits fill when traded through, stops when touched, both at the open where it lies beyond; a
    stop-limit that opens past its limit waits for the price to come back."""
    met = meeting(waiting(kind), bar(prices))
    if expected is None:
        assert met is None
    else:
        assert met is not None
        assert (met.price, met.inside, met.maker) == (D(expected[0]), *expected[1:])


def test_a_stop_limit_that_was_set_off_rests_at_its_limit():
    """A jump over 106.1 sets it off without a fill; the next bar trades back through it."""
    terms = rules(OrderType.STOP_LIMIT)
    first = match(terms, ordered(OrderType.STOP_LIMIT), [bar("107 109 107 108", n=2)], 2 * MINUTE)
    assert first.account.open_order.triggered and not first.executions
    second = match(terms, first.account, [bar("108 108 106 107", n=3)], 3 * MINUTE)
    assert [(e.fill.price, e.order.status) for e in second.executions] == [(D("106.1"), OrderStatus.FILLED)]


def test_an_entry_expires_after_its_candles_and_not_before():
    """Two candles without a touch."""
    terms = rules(OrderType.LIMIT)
    one = judged(terms, ordered(OrderType.LIMIT), "100 101 99 100", n=2)
    assert one.account.open_order is not None and not one.account.open_order.fresh
    two = judged(terms, one.account, "100 101 99 100", n=3)
    assert two.account.open_order is None
    assert [(order.status, order.filled_quantity) for order in two.orders] == [(OrderStatus.EXPIRED, 0)]


def test_a_part_of_the_volume_is_taken_and_the_rest_waits():
    """A tenth of 40 coins a bar: 4, 4, and what the money still buys; one order, three fills with own ids."""
    terms = rules(costs=Costs(volume_share=D("0.1")))
    outcome = match(terms, ordered(OrderType.MARKET), [bar("100 100 100 100", 40, n) for n in (2, 3, 4)], 0)
    name = f"b-{MINUTE}-0"
    assert [execution.id for execution in outcome.executions] == [name, f"{name}.2", f"{name}.3"]
    assert [execution.fill.quantity for execution in outcome.executions] == [4, 4, 2]
    states = [execution.order.status.value for execution in outcome.executions]
    assert states == ["partially_filled", "partially_filled", "filled"]
    assert outcome.account.portfolio.cash == 0


def test_a_resting_order_pays_the_makers_fee():
    """A limit traded through after it rested: 0.01 % of the coins instead of 0.1 %."""
    terms = rules(OrderType.LIMIT, costs=Costs(fee=D("0.001"), maker_fee=D("0.0001")))
    outcome = match(terms, ordered(OrderType.LIMIT), [bar("100 101 90 100", n=2)], 2 * MINUTE)
    fill = outcome.executions[0].fill
    assert fill.price == 95 and fill.quantity - fill.base_change == fill.quantity * D("0.0001")


def test_stop_and_profit_cancel_each_other():
    """Both rest from the fill of the entry on; the profit is taken, the stop goes, each with its reason."""
    terms = rules(limits=RiskLimits(stop_loss=D("0.1"), take_profit=D("0.2")))
    bought = match(terms, ordered(OrderType.MARKET), [bar("100 100 100 100", n=2)], 2 * MINUTE)
    stop, profit = bought.account.protection
    assert (stop.trigger, profit.trigger) == (90, 120)
    assert stop.oco == profit.oco == stop.id != profit.id
    sold = match(terms, bought.account, [bar("119 121 119 120", n=3)], 3 * MINUTE)
    states = {order.order_type: (order.status, order.reason) for order in sold.orders}
    assert states == {
        OrderType.STOP: (OrderStatus.CANCELLED, "the position was closed by take_profit"),
        OrderType.TAKE_PROFIT: (OrderStatus.FILLED, "take_profit"),
    }
    assert sold.executions[0].fill.price == 120 and not sold.account.protection


def test_a_trailing_stop_follows_the_highest_trade():
    """Bought at 100, up to 110, 5 % below that is 104.5."""
    terms = rules(limits=RiskLimits(trailing_stop=D("0.05")))
    trades = [trade(price, n) for n, price in enumerate(("100", "110", "104.6", "104.5", "90"), 1)]
    outcome = match(terms, ordered(OrderType.MARKET), trades, 2 * MINUTE)
    assert [(e.fill.price, e.fill.timestamp_ms) for e in outcome.executions] == [(100, 1), (D("104.5"), 4)]
    assert outcome.executions[1].order.reason == ExitReason.TRAILING_STOP
    assert outcome.account.matching == Matching(traded={0: D("2045.0")}, placed=1, matched_ms=5, matched_id=5)


def test_a_position_is_sold_after_its_longest_time():
    """Bought in minute 2, three minutes are over at the close of minute 4; sold at the next open."""
    terms, now = rules(limits=RiskLimits(max_candles=3)), ordered(OrderType.MARKET)
    for n in (2, 3):
        now = judged(terms, now, "100 100 100 100", n=n).account
        assert now.open_order is None
    now = judged(terms, now, "100 100 100 100", n=4).account
    assert now.open_order is not None and now.open_order.reason == "time"
    left = judged(terms, now, "101 101 101 101", n=5)
    assert left.executions[0].fill.price == 101 and left.account.portfolio.quantity == 0


def test_a_buy_that_is_withdrawn_half_filled_leaves_its_coins_to_a_sell():
    """The signal that withdraws the rest sells what was bought."""
    terms = rules(costs=Costs(volume_share=D("0.1")))
    half = judged(terms, ordered(OrderType.MARKET), "100 100 100 100", "sell", n=2, volume=40)
    sides = [(order.side, order.status) for order in half.orders]
    assert sides == [(Side.BUY, OrderStatus.CANCELLED), (Side.SELL, OrderStatus.OPEN)]
    assert half.orders[0].filled_quantity == 4


def test_sizes_are_an_amount_or_a_part_and_never_more_than_the_limits_let():
    """300 of 1000; 40 %; all of it under a limit of half."""
    for sizing, limits, budget in (
        (Sizing(D(300), D(0)), RiskLimits(), 300),
        (Sizing(weight=D("0.4")), RiskLimits(), 400),
        (Sizing(), RiskLimits(max_position_fraction=D("0.5")), 500),
    ):
        found = judged(rules(sizing=sizing, limits=limits), account(), "100 100 100 100", "buy").account
        assert found.open_order is not None and found.open_order.budget == budget


def test_an_order_under_the_minimum_is_rejected_with_the_reason():
    """9 USDT at 100 are 0.09 coins; the smallest order is 0.1."""
    (order,) = judged(rules(), account("9"), "100 100 100 100", "buy").orders
    assert (order.status, order.reason) == (
        OrderStatus.REJECTED,
        "size 0.09 A is under the minimum of 0.1 for A-USDT",
    )


BOTH = RiskLimits(stop_loss=D("0.1"), take_profit=D("0.2"))


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ("10 11 9.1 10", None),
        ("10 11 9 10", ("stop_loss", 9)),
        ("8 11 7 10", ("stop_loss", 8)),
        ("10 12 10 11", ("take_profit", 12)),
        ("13 14 12.5 13", ("take_profit", 13)),
        ("10 13 8 10", ("stop_loss", 9)),
    ],
)
def test_protective_exits_leave_at_the_trigger_or_at_the_open_beyond_it(prices, expected):
    """Average cost 10: stop at 9, profit at 12; a gap leaves at the open; both in one bar is the stop."""
    outcome = match(rules(limits=BOTH), HELD, [bar(prices)], MINUTE)
    found = [(e.order.reason, e.fill.price) for e in outcome.executions]
    assert found == ([] if expected is None else [expected])


def test_the_kill_switch_holds_up_protective_orders_and_their_placing():
    """The price falls through the stop: nothing happens, and afterwards the stop is placed and set off."""
    terms = rules(limits=BOTH)
    held_up = match(terms, HELD, [bar("10 10 5 8")], MINUTE, kill_switch=True)
    assert not held_up.orders and not held_up.executions
    after = match(terms, held_up.account, [bar("8 8 8 8", n=2)], 2 * MINUTE)
    assert [(e.order.reason, e.fill.price) for e in after.executions] == [("stop_loss", 8)]


def test_a_bar_without_trades_fills_nothing():
    """An empty candle has no price to trade at."""
    assert not match(rules(limits=BOTH), HELD, [bar("1 1 1 1", 0)], MINUTE).executions
    assert not match(rules(), ordered(OrderType.MARKET), [bar("1 1 1 1", 0)], MINUTE).executions


def test_prices_that_touch_nothing_need_no_look_inside():
    """Between stop and profit nothing can happen, whatever the order of prices; at either something may."""
    terms = rules(limits=BOTH)
    assert not could_touch(terms, HELD, D("9.1"), D("11.9"))
    assert could_touch(terms, HELD, D(9), D("11.9"))
    assert could_touch(terms, HELD, D("9.1"), D(12))
    limit = ordered(OrderType.LIMIT)
    assert not could_touch(rules(OrderType.LIMIT), limit, D("95.1"), D(200))
    assert could_touch(rules(OrderType.LIMIT), limit, D(95), D(200))
    assert could_touch(rules(), ordered(OrderType.MARKET), D(100), D(100))


def test_an_order_leaves_its_final_states_never():
    """Filled, cancelled, expired and rejected are the end; a part that is filled cannot be rejected."""
    order = waiting(OrderType.LIMIT)
    part = advance(order, OrderStatus.PARTIALLY_FILLED)
    with pytest.raises(IllegalOrderMove, match="from partially_filled to rejected"):
        advance(part, OrderStatus.REJECTED)
    for last in set(OrderStatus) - {OrderStatus.OPEN, OrderStatus.PARTIALLY_FILLED}:
        done = advance(order, last)
        for status in OrderStatus:
            with pytest.raises(IllegalOrderMove):
                advance(done, status)


def test_an_order_and_what_is_remembered_survive_json_to_the_last_digit():
    """The state that a restart reads is the state that was."""
    order = waiting(OrderType.STOP_LIMIT)
    assert json.decode(json.encode(order), type=Order) == order
    matching = Matching(D("1.000000000000000001"), 5, D("-3"), {20000: D("7.5")}, 3, 9, 11)
    assert json.decode(json.encode(matching), type=Matching) == matching
