"""Every strategy, of the product and of the user, through the look-ahead and warm-up check."""

import pytest

from strategies import registry
from strategies.check import check_everywhere


@pytest.mark.parametrize("name", registry.shipped())
def test_every_shipped_strategy_passes(name: str) -> None:
    """None of the shipped strategies looks ahead or needs more history than it says, on any timeframe that
    suits it."""
    short = {"trend_period": 5, "trend_timeframe": "1h"} if name == "trend_filter" else {}
    reports = check_everywhere(name, short, cuts=12)
    assert [report.findings for report in reports if report.findings] == []
    assert len(reports) == {"trend_filter": 3, "grid_trading": 5}.get(name, 6)
    assert all(report.buys for report in reports)


@pytest.mark.parametrize("name", sorted(set(registry.names()) - set(registry.shipped())) or ["none"])
def test_every_strategy_of_ones_own_passes(name: str) -> None:
    """What lies in the user's folder is checked with the rest; a file that cannot be loaded fails here."""
    assert registry.catalogue().problems() == []
    if name != "none":
        assert [report.findings for report in check_everywhere(name, {}, cuts=12) if report.findings] == []
