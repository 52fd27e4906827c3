"""What a market order does to cash and coin, to the last digit."""

from decimal import Decimal

from core.fills import Costs, Fill, Refusal, market_buy, market_sell, sellable
from core.instruments import Instrument

BTC = Instrument("BTC-USDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.0001"), Decimal("0.001"))
TAKER = Costs(fee=Decimal("0.001"))


def _fill(outcome: Fill | Refusal) -> Fill:
    assert isinstance(outcome, Fill), outcome
    return outcome


def test_a_buy_spends_cash_in_whole_lots_and_pays_its_fee_in_coins():
    """1000 at 333 buys 3.0030 coins in lots of 0.0001; the fee of 0.1 % comes off the coins."""
    fill = _fill(market_buy(BTC, Decimal(1000), Decimal(333), TAKER, 5))
    assert fill.quantity == Decimal("3.0030")
    assert fill.quote_change == Decimal("-999.999")
    assert fill.base_change == Decimal("2.999997")
    assert fill.fee == Decimal("0.999999")
    assert fill.timestamp_ms == 5


def test_a_sell_leaves_what_is_less_than_a_lot_and_pays_its_fee_in_cash():
    """2.999997 coins held: 2.9999 are sold, 0.1 % of the proceeds is the fee."""
    fill = _fill(market_sell(BTC, Decimal("2.999997"), Decimal(100), TAKER, 5))
    assert fill.quantity == Decimal("2.9999")
    assert fill.base_change == Decimal("-2.9999")
    assert fill.fee == Decimal("0.29999")
    assert fill.quote_change == Decimal("299.69001")


def test_slippage_worsens_both_sides():
    """One per cent of slippage makes a buyer pay 101 and a seller get 99 for a price of 100."""
    costs = Costs(slippage=Decimal("0.01"))
    assert _fill(market_buy(BTC, Decimal(1000), Decimal(100), costs, 0)).price == Decimal(101)
    assert _fill(market_sell(BTC, Decimal(1), Decimal(100), costs, 0)).price == Decimal(99)


def test_an_order_under_the_minimum_is_refused_with_the_reason():
    """5 USDT at 6000 is 0.0008 BTC, and the smallest order is 0.001."""
    assert market_buy(BTC, Decimal(5), Decimal(6000), TAKER, 0) == Refusal(
        "size 0.0008 BTC is under the minimum of 0.001 for BTC-USDT"
    )
    assert isinstance(market_sell(BTC, Decimal("0.0009"), Decimal(6000), TAKER, 0), Refusal)


def test_nothing_to_spend_is_refused():
    """An empty account gives a refusal, not a fill of nothing."""
    assert isinstance(market_buy(BTC, Decimal(0), Decimal(100), TAKER, 0), Refusal)


def test_dust_cannot_be_sold():
    """Less than the minimum order counts as holding nothing."""
    assert not sellable(BTC, Decimal("0.00099999"))
    assert sellable(BTC, Decimal("0.001"))
