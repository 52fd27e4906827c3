"""A bot's row as people see it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from dashboards.api.documents import answer
from dashboards.rows import api_row, bot_row, shown_state

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROW = {
    "name": "bot_001",
    "strategy_name": "ema_crossover",
    "symbol": "BTC-USDT",
    "timeframe": "1m",
    "status": "active",
    "state": "running",
    "virtual_balance": Decimal(10_000),
    "current_balance": Decimal(10_100),
    "last_heartbeat": NOW - timedelta(seconds=2),
    "restarts": 0,
    "last_error": None,
    "cash": Decimal(4_000),
    "quantity": Decimal("0.1"),
    "realised_pnl": Decimal(0),
    "fees": Decimal(4),
    "total_trades": 4,
    "winning_trades": 1,
    "fills": 9,
    "deleted_at": None,
    "day_start_value": Decimal(10_050),
    "signal_time": NOW,
    "signal_type": "buy",
    "signal_price": Decimal("61000.1"),
    "confidence": 0.7,
    "kill_switch": False,
    "halted": None,
    "veto_time": None,
    "veto_reason": None,
    "tick_size": Decimal("0.1"),
}


@pytest.mark.parametrize(
    ("status", "state", "age_s", "shown"),
    [
        ("active", "running", 1, "running"),
        ("active", "running", 31, "silent"),
        ("active", "stopped", 1, "starting"),
        ("active", "starting", 1, "starting"),
        ("paused", "running", 1, "pausing"),
        ("paused", "paused", 90, "paused"),
        ("stopped", "running", 1, "stopping"),
        ("stopped", "stopped", 900, "stopped"),
        ("active", "crashed", 1, "crashed"),
        ("error", "error", 1, "error"),
    ],
)
def test_one_word_for_wanted_and_actual(status, state, age_s, shown):
    """What is wanted and what is are told in one word; a running bot that says nothing is silent."""
    assert shown_state(status, state, NOW - timedelta(seconds=age_s), NOW) == shown


def test_value_and_profit_follow_the_last_price():
    """Cash and coins at the last price; today's profit is against the value at the day's start."""
    row = bot_row(ROW, 62_000.0, NOW)
    assert row["value"] == 10_200
    assert row["pnl"] == 200
    assert row["pnl_fraction"] == pytest.approx(0.02)
    assert row["pnl_today"] == 150
    assert row["win_rate"] == 0.25
    assert row["decimals"] == 1


def test_the_api_keeps_all_digits_and_pages_round_by_the_currency():
    """A gain of a few satoshi is told whole by the API, and to six decimals on a page."""
    coins = {"symbol": "ETH-BTC", "virtual_balance": Decimal(1), "day_start_value": Decimal("1.0001")}
    held = {"cash": Decimal("0.5"), "quantity": Decimal("10.000000000000000001")}
    row = api_row(ROW | coins | held, 0.05123456, NOW)
    value = Decimal("0.5") + Decimal("10.000000000000000001") * Decimal("0.05123456")
    assert (row["quote"], row["cash"], row["quantity"]) == ("BTC", *held.values())
    assert row["current_balance"] == value == Decimal("1.01234560000000000005123456")
    assert (row["pnl"], row["pnl_today"]) == (value - 1, value - Decimal("1.0001"))
    assert f'"pnl":{value - 1}' in answer(row).body.decode()
    shown = bot_row(ROW | coins | held, 0.05123456, NOW)
    assert (shown["value"], shown["pnl"], shown["pnl_today"]) == (1.012346, 0.012346, 0.012246)


def test_a_bot_without_an_account_has_its_starting_cash():
    """Before a bot's first decision its cash is all it has, in the API as on pages."""
    row = ROW | {"cash": None, "quantity": None}
    assert (api_row(row, 1.0, NOW)["cash"], api_row(row, 1.0, NOW)["quantity"]) == (10_000, 0)
    assert (bot_row(row, 1.0, NOW)["cash"], bot_row(row, 1.0, NOW)["quantity"]) == (10_000, 0)


def test_without_a_price_the_stored_value_counts():
    """Before the first price the value stored by the bot is shown."""
    assert bot_row(ROW, None, NOW)["value"] == 10_100
    assert bot_row(ROW | {"quantity": None, "cash": None}, 1.0, NOW)["value"] == 10_100


def test_the_api_has_times_in_place_of_epoch_ms():
    """The API's row holds datetimes and the last signal in one piece."""
    row = api_row(ROW, 62_000.0, NOW)
    assert row["last_heartbeat"] == ROW["last_heartbeat"]
    assert row["last_signal"]["timestamp"] == NOW
    assert not any(name.endswith("_ms") for name in row)
