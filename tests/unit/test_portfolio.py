"""The account of a bot, fill by fill."""

from decimal import Decimal

import pytest

from core.fills import Costs, Fill, market_buy, market_sell
from core.instruments import Instrument
from core.portfolio import Portfolio

COIN = Instrument("A-USDT", "A", "USDT", Decimal("0.01"), Decimal("0.01"), Decimal("0.01"))
TAKER = Costs(fee=Decimal("0.001"))


def _bought(cash: str, price: str) -> tuple[Portfolio, Fill]:
    fill = market_buy(COIN, Decimal(cash), Decimal(price), TAKER, 0)
    assert isinstance(fill, Fill)
    return Portfolio(Decimal(cash)).apply(fill), fill


def test_a_round_trip_earns_what_is_left_after_the_fees_of_both_sides():
    """100 coins bought at 10 and sold at 11, each side paying 0.1 %."""
    held, _ = _bought("1000", "10")
    assert (held.cash, held.quantity, held.cost) == (Decimal(0), Decimal("99.9"), Decimal(1000))
    sell = market_sell(COIN, held.quantity, Decimal(11), TAKER, 1)
    assert isinstance(sell, Fill)
    flat = held.apply(sell)
    assert flat.quantity == 0
    assert flat.cash == Decimal("1097.8011")
    assert flat.realised_pnl == flat.cash - 1000
    assert (flat.total_trades, flat.winning_trades) == (1, 1)
    assert flat.fees == Decimal("1") + Decimal("1.0989")


def test_a_round_trip_at_one_price_loses_both_fees_and_is_no_win():
    """Without a move the fees are the loss."""
    held, _ = _bought("1000", "10")
    sell = market_sell(COIN, held.quantity, Decimal(10), TAKER, 1)
    assert isinstance(sell, Fill)
    flat = held.apply(sell)
    assert flat.realised_pnl == Decimal("-1.999")
    assert (flat.total_trades, flat.winning_trades) == (1, 0)


def test_dust_keeps_its_share_of_the_cost():
    """What cannot be sold stays in the account with the price paid for it."""
    held, _ = _bought("100", "3")
    sell = market_sell(COIN, held.quantity, Decimal(3), TAKER, 1)
    assert isinstance(sell, Fill)
    after = held.apply(sell)
    assert after.quantity == held.quantity - sell.quantity > 0
    assert after.cost + (sell.quote_change - after.realised_pnl) == held.cost


def test_value_is_cash_plus_coins():
    """A quarter coin at 40 beside 5 in cash is worth 15."""
    assert Portfolio(Decimal(5), Decimal("0.25")).value(Decimal(40)) == 15


def test_a_fill_beyond_the_account_is_an_error():
    """An account never goes below zero: such a fill is a bug and stops the bot."""
    _, fill = _bought("1000", "10")
    with pytest.raises(ValueError, match="leaves cash -1"):
        Portfolio(Decimal(999)).apply(fill)
