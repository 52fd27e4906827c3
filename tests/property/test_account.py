"""Whatever is bought and sold, coin and cash are conserved, and no balance goes below zero."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from core.fills import Costs, Fill, exact, market_buy, market_sell
from core.instruments import Instrument
from core.portfolio import Portfolio
from core.risk import RiskLimits, spendable

prices = st.decimals("0.000000001", "1000000", places=9)
fractions = st.decimals("0", "0.05", places=5)
lots = st.sampled_from(["1", "0.01", "0.00000001", "0.000000000000000001"]).map(Decimal)
steps = st.lists(st.tuples(st.booleans(), prices), max_size=30)


@given(
    steps,
    st.decimals("0.01", "1000000", places=8),
    lots,
    fractions,
    fractions,
    st.decimals("0.01", "1", places=2),
)
def test_money_and_coins_are_conserved_to_the_last_digit(orders, cash, lot, fee, slippage, fraction):
    """Balances are the sum of the fills; profit is cash gained with the cost of what is held counted in."""
    instrument = Instrument("A-USDT", "A", "USDT", Decimal("0.1"), lot, lot)
    costs, limits = Costs(fee, slippage), RiskLimits(max_position_fraction=fraction)
    account, fills = Portfolio(cash), []
    with exact():
        for n, (buying, price) in enumerate(orders):
            if buying:
                outcome = market_buy(instrument, spendable(limits, account, price), price, costs, n)
            else:
                outcome = market_sell(instrument, account.quantity, price, costs, n)
            if isinstance(outcome, Fill):
                account = account.apply(outcome)
                fills.append(outcome)
                assert outcome.quantity % lot == 0
        assert account.cash >= 0 and account.quantity >= 0 and account.cost >= 0
        assert account.cash == cash + sum(fill.quote_change for fill in fills)
        assert account.quantity == sum(fill.base_change for fill in fills)
        assert account.fees == sum(fill.fee for fill in fills)
        assert account.realised_pnl == account.cash + account.cost - cash
        for amount in (account.cash, account.quantity, account.cost, account.realised_pnl, account.fees):
            assert amount == round(amount, 18)


@given(st.decimals("1", "1000000", places=8), prices, fractions, fractions)
def test_a_buy_never_costs_more_than_it_may_and_never_less_than_a_lot_short(cash, price, fee, slippage):
    """All the cash is used but for less than one lot (and the rounding of one quantum a lot)."""
    instrument = Instrument("A-USDT", "A", "USDT", Decimal("0.1"), Decimal("0.0001"), Decimal("0.0001"))
    outcome = market_buy(instrument, cash, price, Costs(fee, slippage), 0)
    with exact():
        lot_price = price * (1 + slippage) * instrument.lot_size
        if isinstance(outcome, Fill):
            left = cash + outcome.quote_change
            assert 0 <= left <= lot_price + Decimal("1e-9")
        else:
            assert cash < lot_price + Decimal("1e-9")


@given(st.decimals("1000", "100000", places=2), prices, prices, fractions, fractions)
def test_a_round_trip_equals_the_formula_of_the_backtest(cash, bought, sold, fee, slippage):
    """qty = cash / (price·(1+s)), held qty·(1−fee), proceeds held·price·(1−s)·(1−fee), within 1e-9."""
    instrument = Instrument("A-USDT", "A", "USDT", Decimal("0.1"), Decimal("1e-18"), Decimal("1e-18"))
    costs = Costs(fee, slippage)
    buy = market_buy(instrument, cash, bought, costs, 0)
    assert isinstance(buy, Fill)
    account = Portfolio(cash).apply(buy)
    sell = market_sell(instrument, account.quantity, sold, costs, 1)
    assert isinstance(sell, Fill)
    account = account.apply(sell)
    f, s = float(fee), float(slippage)
    held = float(cash) / (float(bought) * (1 + s)) * (1 - f)
    expected = held * float(sold) * (1 - s) * (1 - f)
    assert abs(float(account.cash) - expected) <= 1e-9 * max(1.0, expected)
