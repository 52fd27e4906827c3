"""Every strategy, of the product and of the user, through the look-ahead and warm-up check."""

import pytest

from core.timeframes import Timeframe
from strategies import registry
from strategies.check import check_everywhere


@pytest.mark.parametrize("name", registry.shipped())
def test_every_shipped_strategy_passes(name: str) -> None:
    """None of the shipped strategies looks ahead or needs more history than it says, on any timeframe that
    suits it."""
    reports, left_out = check_everywhere(name, {}, cuts=12)
    assert [report.findings for report in reports if report.findings] == []
    assert len(reports) == {"trend_filter": 2, "grid_trading": 5}.get(name, 6)
    assert {*(report.timeframe for report in reports), *left_out} == {*Timeframe}
    assert all(report.buys and report.warmed for report in reports)


@pytest.mark.parametrize("period", [5, 30])
def test_an_hourly_trend_passes_too(period: int) -> None:
    """The strategy of two timeframes with a trend of five hours, which turns often, and of its own length."""
    given = {"trend_period": period, "trend_timeframe": "1h"}
    reports, _ = check_everywhere("trend_filter", given, cuts=12)
    assert [report.findings for report in reports if report.findings] == []
    assert all(report.buys for report in reports)
    # A trend of 30 hours looks back at so many minutes that no signal falls where its warm-up could be tried.
    assert [report.warmed > 0 for report in reports] == [period == 5, True, True]


@pytest.mark.parametrize("name", sorted(set(registry.names()) - set(registry.shipped())) or ["none"])
def test_every_strategy_of_ones_own_passes(name: str) -> None:
    """What lies in the user's folder is checked with the rest; a file that cannot be loaded fails here."""
    assert registry.catalogue().problems() == []
    if name != "none":
        reports, _ = check_everywhere(name, {}, cuts=12)
        assert [report.findings for report in reports if report.findings] == []
