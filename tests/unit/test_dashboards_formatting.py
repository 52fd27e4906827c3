"""Numbers as people read them."""

from decimal import Decimal

import pytest

from dashboards.bot_tables import RECORDS
from dashboards.formatting import (
    cents,
    decimals_of,
    guess_decimals,
    measure,
    money,
    percent,
    quantity,
    strategy,
)
from dashboards.grids import trade_columns


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "shown"),
    [
        (61828.02, 2, False, "61,828.02"),
        (-32.1, 2, True, "−32.10"),
        (1.239, 2, True, "+1.24"),
        (-0.001, 2, True, "0.00"),
        (None, 2, False, "—"),
        (float("nan"), 2, False, "—"),
        (float("inf"), 2, False, "—"),
        (Decimal("0.00001"), 5, False, "0.00001"),
    ],
)
def test_money_has_separators_a_true_minus_and_no_nan(value, decimals, signed, shown):
    """Thousands are separated, signs are typographic, nothing undefined is printed."""
    assert money(value, decimals, signed) == shown


@pytest.mark.parametrize(("quote", "places", "fine"), [("USDT", 2, 4), ("BTC", 6, 8)])
def test_tables_of_trades_have_the_decimals_of_their_currency(quote, places, fine):
    """A few cents of it are seen in profit, fees, value and cash, of a bot and of a run."""

    def formats(columns):
        return {column["field"]: column.get("valueFormatter", {}).get("function") for column in columns}

    bot, run = formats(RECORDS["trades"].columns(5, cents(quote))), formats(trade_columns(5, cents(quote)))
    plain, signed = (f"tcpMoney(params.value, {sign}, {places})" for sign in ("false", "true"))
    assert [bot["worth"], bot["cash"], run["fees"]] == [plain] * 3
    assert [bot["pnl"], run["pnl"]] == [signed] * 2
    assert bot["fees"] == f"tcpMoney(params.value, false, {fine})"
    assert bot["price"] == run["entry_price"] == "tcpMoney(params.value, false, 5)"


def test_percent_and_quantity():
    """Fractions become percent with a thin space; quantities have no trailing zeros or exponents."""
    assert percent(0.0124) == "+1.24\u2009%"
    assert percent(None) == "—"
    assert quantity(0.00001) == "0.00001"
    assert quantity(1200.5) == "1,200.5"


def test_nothing_has_no_sign():
    """A fall of zero is not a rise."""
    assert measure("max_drawdown", 0.0) == "0.00\u2009%"
    assert measure("total_return", -0.000001) == "0.00\u2009%"
    assert measure("total_return", -0.0123) == "−1.23\u2009%"
    assert measure("trades", 0) == "0"


def test_decimals_follow_the_tick():
    """A tick of 0.1 shows one decimal; without a tick the price's size decides."""
    assert decimals_of(Decimal("0.100000000000000000")) == 1
    assert decimals_of(Decimal("0.00001")) == 5
    assert decimals_of(Decimal(5)) == 0
    assert decimals_of(None) == 2
    assert guess_decimals(61_000) == 2
    assert guess_decimals(0.00012) == 8


def test_strategies_are_named_in_words():
    """Registry names lose their underscores, abbreviations stay capital."""
    assert strategy("ema_crossover") == "EMA crossover"
    assert strategy("buy_and_hold") == "Buy and hold"
