"""Several accounts as one."""

from decimal import Decimal

from core.combined import Holder, combined
from core.portfolio import Portfolio

D = Decimal


def holder(bot: str, symbol: str, cash: str, coins: str = "0", cost: str = "0", price: str | None = "10"):
    """A bot that began with 100."""
    account = Portfolio(D(cash), D(coins), D(cost), realised_pnl=D(cash) + D(cost) - 100, fees=D(1))
    return Holder(bot, symbol, symbol.split("-")[1], D(100), account, None if price is None else D(price))


def test_two_bots_on_one_symbol_are_one_position_at_their_common_average():
    """2 coins for 18 and 3 for 27 are 5 at an average of 9; at 10 they are worth 50."""
    (total,) = combined([holder("a", "A-USDT", "80", "2", "18"), holder("b", "A-USDT", "75", "3", "27")])
    (position,) = total.positions
    assert (position.quantity, position.average_cost, position.value) == (5, 9, 50)
    assert position.bots == ("a", "b")
    assert (total.value, total.unrealised_pnl, total.pnl) == (205, 5, 5)
    assert total.pnl == total.realised_pnl + total.unrealised_pnl
    assert total.fees == 2 and total.exposure == 50 / 205


def test_quote_currencies_are_not_added_up():
    """A total for each, by name."""
    totals = combined([holder("a", "A-USDT", "100"), holder("b", "A-BTC", "100")])
    assert [(total.quote, total.bots) for total in totals] == [("BTC", 1), ("USDT", 1)]


def test_coins_without_a_price_count_with_what_they_cost():
    """So that a symbol whose candles have not come yet is no loss."""
    (total,) = combined([holder("a", "A-USDT", "50", "5", "50", price=None)])
    assert (total.value, total.unrealised_pnl) == (100, 0)
    assert total.positions[0].price is None
