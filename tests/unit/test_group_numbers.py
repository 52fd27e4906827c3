"""Bots together, and who stands where: by hand."""

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import pytest

from pipelines.validation.bot_numbers import filled
from pipelines.validation.group_numbers import Account, places, portfolio_days, strategies

FIRST, SECOND, THIRD = (date(2026, 3, day) for day in (1, 2, 3))
FILL = {"value": Decimal(50), "fees": Decimal(1), "pnl": Decimal(-3)}


def account(cash: int, closings: dict[date, int], fills: Iterable[date] = ()) -> Account:
    values = {day: Decimal(value) for day, value in closings.items()}
    return Account(Decimal(cash), values, dict.fromkeys(fills, filled([FILL])))


def test_equals_share_a_place_and_what_is_unknown_comes_last():
    """The largest is first, the place after two equals is left out, differences beyond 12 digits are none."""
    assert places([(0.1,), (None,), (0.3,), (0.1 + 1e-15,), (0.0,)]) == [2, 5, 1, 2, 4]
    assert places([(None, 0.2), (0.1, None), (None, 0.3)]) == [3, 1, 2]


def test_a_bot_that_joins_brings_cash_and_one_that_stands_still_keeps_its_value():
    """1000 grow by a tenth, then 1100 + 1100 lose a tenth; the bot without a snapshot stands with what it
    had, from its first fill on."""
    days = portfolio_days(
        [account(1000, {FIRST: 1100, THIRD: 1100}), account(1100, {THIRD: 880}, {SECOND})], THIRD
    )
    assert [(row["closing_value"], row["pnl"], row["cumulative_pnl"]) for row in days.values()] == [
        (1100, 100, 100),
        (2200, 0, 100),
        (1980, -220, -120),
    ]
    assert [(row["bots"], row["fees"], row["turnover"], row["closed_trades"]) for row in days.values()] == [
        (1, 0, 0, 0),
        (2, 1, 50, 1),
        (2, 0, 0, 0),
    ]
    assert [row["growth"] for row in days.values()] == pytest.approx([1.1, 1.1, 0.99])
    assert [row["drawdown"] for row in days.values()] == pytest.approx([0, 0, 0.1])


def test_a_portfolio_that_lost_everything_is_at_the_bottom_for_good():
    """Nothing is divided by what is gone, and a bot that never lived is no part of it."""
    days = portfolio_days([account(10, {FIRST: 0, SECOND: 0}), account(99, {})], SECOND)
    assert list(days) == [FIRST, SECOND]
    assert days[SECOND]["drawdown"] == pytest.approx(1)
    assert portfolio_days([], None) == {}


def test_a_strategy_has_a_row_in_each_currency_that_it_trades_in():
    """Profits of ETH and of dollars are not added up, and names that differ in capitals are one."""
    nothing = {"closed_trades": 0, "win_rate": None, "max_drawdown": 0.0, "fees": Decimal(0)}
    bots = [
        {"symbol": symbol, "strategy_name": name, "cash": Decimal(cash), "pnl": Decimal(pnl), **nothing}
        for symbol, name, cash, pnl in [
            ("BTC-USDT", "Ema", 1000, 100),
            ("ETH-USDT", "ema", 1000, 20),
            ("SOL-ETH", "ema", 10, 2),
        ]
    ]
    runs = [{"symbol": "SOL-ETH", "strategy_name": "ema", "total_return": 0.5, "sharpe": None}]
    found = strategies(bots, runs, [])
    assert {
        key: (row["bots"], row["pnl"], row["live_return"], row["place"]) for key, row in found.items()
    } == {
        ("USDT", "ema"): (2, 120, 0.06, 2),
        ("ETH", "ema"): (1, 2, 0.2, 1),
    }
    assert [row["median_backtest_return"] for row in found.values()] == [None, 0.5]
