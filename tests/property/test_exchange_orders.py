"""Orders at a real exchange: ids, states, and what a match does to an account."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from core.exchange_orders import (
    CLIENT_ID_LENGTH,
    ExchangeFill,
    SubmissionState,
    account_fill,
    client_id,
    closed_trip,
    follow,
    states_before,
)
from core.ids import decision_id
from core.portfolio import Portfolio
from core.trades import Side

NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789_-", min_size=1, max_size=64)
LOTS = st.integers(1, 10**12).map(lambda lots: Decimal(lots).scaleb(-8))
TICKS = st.integers(1, 10**7).map(lambda ticks: Decimal(ticks).scaleb(-1))


@given(NAMES, st.integers(0, 4 * 10**12), st.integers(0, 99))
def test_client_ids_are_the_exchanges_kind_and_always_the_same(name, close_ms, n):
    """At most 32 ASCII letters and digits, made of the decision alone."""
    made = client_id(decision_id(name, close_ms, n))
    assert len(made) == CLIENT_ID_LENGTH and made.isascii() and made.isalnum()
    assert made == client_id(decision_id(name, close_ms, n)) != client_id(decision_id(name, close_ms, n + 1))


def test_no_order_comes_back_from_its_end():
    """Whatever is over stays over, and only what is proven not to be there may be sent again."""
    for state in SubmissionState:
        assert not any(before.is_final for before in states_before(state))
    assert states_before(SubmissionState.SUBMITTING) == (SubmissionState.SENDING,)
    assert states_before(SubmissionState.SENDING) == (SubmissionState.SUBMITTING,)


@given(
    st.lists(st.tuples(LOTS, TICKS, st.booleans(), st.sampled_from(["own", "other", "quote"])), max_size=12)
)
def test_cash_and_coin_are_conserved_to_the_last_digit(rows):
    """What an account gains is what the matches gave, less fees in their own currency, in any order."""
    portfolio = Portfolio(cash=Decimal(1000))
    base = quote = Decimal(0)
    for number, (size, price, buy, paid_in) in enumerate(rows):
        fee_currency = {"own": "BTC" if buy else "USDT", "other": "OKB", "quote": "USDT"}[paid_in]
        fee = (size if fee_currency == "BTC" else price * size) * Decimal("0.001")
        side = Side.BUY if buy else Side.SELL
        match = ExchangeFill(str(number), number, side, price, size, fee, fee_currency)
        portfolio, pnl = follow(portfolio, account_fill(match, "BTC-USDT"))
        sign = 1 if buy else -1
        base += sign * size - (fee if fee_currency == "BTC" else 0)
        quote += -sign * size * price - (fee if fee_currency == "USDT" else 0)
        assert (pnl is None) is buy
    assert (portfolio.quantity, portfolio.cash - 1000) == (base, quote)


@given(LOTS, TICKS, TICKS)
def test_a_round_trip_is_accounted_as_on_paper(size, bought_at, sold_at):
    """Cost, profit and fees equal those of the account that paper orders use."""
    cash = bought_at * size * 2
    buy = ExchangeFill("1", 1, Side.BUY, bought_at, size, size * Decimal("0.001"), "BTC")
    held = size * Decimal("0.999")
    sell = ExchangeFill("2", 2, Side.SELL, sold_at, held, held * sold_at * Decimal("0.001"), "USDT")
    fills = [account_fill(match, "BTC-USDT") for match in (buy, sell)]
    real = paper = Portfolio(cash=cash)
    for fill in fills:
        real, pnl = follow(real, fill)
        paper = paper.apply(fill)
    assert closed_trip(real, pnl or Decimal(0)).realised_pnl == paper.realised_pnl == real.cash - cash
    assert (real.cash, real.quantity, real.cost, real.fees) == (paper.cash, 0, 0, paper.fees)
    assert closed_trip(real, Decimal(1)).winning_trades == 1
