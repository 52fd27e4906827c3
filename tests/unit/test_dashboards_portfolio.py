"""The portfolio's cards without a database."""

from datetime import date

from dashboards.accounts import cards

DAY = {"day": date(2026, 3, 2), "growth": 1.0, "pnl": 0, "drawdown": 0, "fees": 2, "turnover": 1_000}
BOT = {"quote": "USDT", "current_value": 1_000, "pnl": 0, "fees": 900}


def test_fees_are_a_share_of_the_turnover_of_the_same_days():
    """What older days than those read cost is in the sum, not in the share, and the hint says since when."""
    card = cards([DAY], [BOT], [], date(2026, 3, 2)).children[-1]
    assert card.children[1].children == "900.00"
    assert card.title == "All fills; 0.200\u2009% of 1,000.00 USDT bought and sold since 2026-03-02"
