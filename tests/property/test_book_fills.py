"""Orders that take from an order book: no more than it shows, never past their price, nothing is created."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from core.accounts import Account, Bar, Rules
from core.book_fills import BookTop, match_book
from core.fills import Costs, exact
from core.instruments import Instrument
from core.matching import match, match_open
from core.orders import Order, OrderStatus, OrderType
from core.portfolio import Portfolio
from core.risk import RiskLimits, RiskState
from core.trades import Side

D = Decimal
COIN = Instrument("A-USDT", "A", "USDT", D("0.01"), D("0.001"), D("0.003"))
DECIDED_MS, CLOSE_MS = 60_000, 120_000
FEE = D("0.001")
sizes = st.integers(0, 4_000).map(lambda lots: D(lots) / 1000)
steps = st.lists(st.tuples(st.integers(1, 40), sizes), max_size=5)


def rules(fee: Decimal = FEE) -> Rules:
    """With costs of trades that no fill from a book may have, and a stop."""
    costs = Costs(fee, slippage=D("0.3"), maker_fee=D(0), spread=D(9), impact=D("0.5"), volume_share=D("0.1"))
    return Rules("b", COIN, costs, RiskLimits(stop_loss=D("0.05")), ticks=True, path="trades")


def levels(shape: list[tuple[int, Decimal]], best: Decimal, sign: int) -> tuple[tuple[Decimal, Decimal], ...]:
    """Levels from `best` on, each further away."""
    found, price = [], best
    for distance, size in shape:
        found.append((price, size))
        price += sign * D(distance) / 100
    return tuple(found)


def account(side: Side, kind: OrderType, limit: Decimal | None) -> Account:
    """One that has just decided a buy with all its cash, or the sale of all its coins."""
    buys = side is Side.BUY
    portfolio = Portfolio(D(500)) if buys else Portfolio(D(0), D(5), D(500))
    order = Order(
        id="b-1",
        signal_id="b-1",
        side=side,
        order_type=kind,
        timestamp_ms=DECIDED_MS,
        price=D(100),
        quantity=D(5),
        trigger=limit,
        budget=D(500) if buys else None,
    )
    return Account(portfolio, RiskState.begin(D(500)), order, DECIDED_MS)


@given(st.sampled_from(list(Side)), st.booleans(), steps, st.integers(-60, 60), st.integers(0, 50_000))
@settings(max_examples=400, deadline=None)
def test_what_a_book_fills_is_in_the_book(side, limited, shape, offset, later_ms):
    """Each fill is one level: its price, at most its size, the taker's fee, nothing past a limit; cash and
    coins add up to the last digit; what is left waits, and only an order without rest is filled."""
    limited = limited and side is Side.BUY
    limit = D(100) + D(offset) / 100 if limited else None
    before = account(side, OrderType.LIMIT if limited else OrderType.MARKET, limit)
    shown = levels(shape, D(100), 1 if side is Side.BUY else -1)
    book = BookTop(
        DECIDED_MS - 10 + later_ms, 7, () if side is Side.BUY else shown, shown if side is Side.BUY else ()
    )
    met = match_book(rules(), before, book, DECIDED_MS, CLOSE_MS)
    left = dict(shown)
    cash, coins = before.portfolio.cash, before.portfolio.quantity
    for one in met.executions:
        assert one.level is not None and one.fill.price == one.level.price and one.level.sequence == 7
        assert limit is None or one.fill.price <= limit
        assert one.fill.timestamp_ms == max(book.timestamp_ms, DECIDED_MS)
        left[one.fill.price] -= one.fill.quantity
        cash, coins = cash + one.fill.quote_change, coins + one.fill.base_change
        with exact():
            received = one.fill.quantity * (1 if side is Side.BUY else one.fill.price)
            kept = one.fill.base_change if side is Side.BUY else one.fill.quote_change
            assert 0 <= received * (1 - FEE) - kept < D("3e-18")
    assert all(size >= 0 for size in left.values())
    assert (met.account.portfolio.cash, met.account.portfolio.quantity) == (cash, coins)
    assert cash >= 0 <= coins
    assert len({one.id for one in met.executions}) == len(met.executions)
    waits = met.account.open_order
    if waits is not None and met.executions:
        assert waits.status is OrderStatus.PARTIALLY_FILLED
        room = [size for price, size in left.items() if limit is None or price <= limit]
        assert all(size < COIN.lot_size for size in room)


@given(st.sampled_from(list(Side)), st.integers(9_000, 11_000))
@settings(max_examples=100, deadline=None)
def test_a_deep_book_fills_as_a_trade_without_costs_does(side, ticks):
    """One level that is large enough: the same fill, account and order as the first trade at that price makes
    of it, but for the level that is noted."""
    price, bare = D(ticks) / 100, structs.replace(rules(), costs=Costs(D("0.001")))
    before = account(side, OrderType.MARKET, None)
    level = ((price, D(10_000)),)
    by_book = match_book(rules(), before, BookTop(DECIDED_MS, 1, level, level), DECIDED_MS, CLOSE_MS)
    by_trade = match_open(bare, before, price, DECIDED_MS, CLOSE_MS)
    assert [one.fill for one in by_book.executions] == [one.fill for one in by_trade.executions]
    assert by_book.account.portfolio == by_trade.account.portfolio
    assert [order.status for order in by_book.orders] == [order.status for order in by_trade.orders]


def test_an_order_that_prices_have_met_takes_from_no_book() -> None:
    """A limit that rests, a stop that waits and a rest of an earlier fill: the book leaves them alone."""
    shown = ((D(99), D(50)),)
    book = BookTop(DECIDED_MS, 1, shown, shown)
    for kind, changes in (
        (OrderType.LIMIT, {"trigger": D(100), "fresh": False}),
        (OrderType.STOP, {"trigger": D(101)}),
        (OrderType.MARKET, {"fills": 1, "fresh": False}),
    ):
        before = account(Side.BUY, kind, None)
        assert before.open_order is not None
        waiting = structs.replace(before.open_order, **changes)
        before = structs.replace(before, open_order=waiting)
        met = match_book(rules(), before, book, DECIDED_MS, CLOSE_MS)
        assert met.account == before and not met.orders


def test_a_stop_is_not_set_off_by_the_trades_before_the_book() -> None:
    """The position begins with the book: its stop is placed by what that cost, and the next bar meets it."""
    book = BookTop(DECIDED_MS + 500, 1, (), ((D(100), D(50)),))
    met = match_book(rules(D(0)), account(Side.BUY, OrderType.MARKET, None), book, DECIDED_MS, CLOSE_MS)
    assert met.account.matching.since_ms == DECIDED_MS + 500
    (stop,) = met.account.protection
    assert stop.trigger == D(95)
    after = match(rules(D(0)), met.account, [Bar(90_000, 90_000, *(D(94),) * 4, D(1_000))], CLOSE_MS)
    assert [order.status for order in after.orders] == [OrderStatus.FILLED]
