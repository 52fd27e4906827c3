"""What the portfolio and the system page read, on a real PostgreSQL."""

from datetime import UTC, date, datetime, timedelta

import pytest
import sqlalchemy as sa

from dashboards.formatting import money
from dashboards.pages.portfolio import table_rows, view
from dashboards.queries import portfolio, system
from dashboards.queries.bots import overview
from dashboards.rows import bot_row, day_start, epoch_ms
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import record_event
from tests.dashboard_marts import MORNING, fill_marts
from tests.dashboard_seed import seed

pytestmark = pytest.mark.servers
DAGSTER = "http://127.0.0.1:3000/"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def database(database_url):
    """A migrated database without marts."""
    found = engine(database_url)
    yield found
    found.dispose()
    engine.cache_clear()


def test_before_the_marts_are_built_the_page_shows_live_values(database):
    """The newest values of bots and the last day's snapshots, and who computes the rest."""
    assert portfolio.built(database) is False
    assert "No bot has a value yet" in str(view(database, DAGSTER, "dark", [], NOW))
    seed(database, epoch_ms(NOW), minutes=120)
    rows = [bot_row(row, None, NOW) for row in overview(database, day_start(NOW))]
    shown = str(view(database, DAGSTER, "dark", rows, NOW))
    assert DAGSTER in shown
    assert money(sum(row["value"] for row in rows)) in shown
    points = portfolio.live_curve(database, NOW)
    assert points[-1]["at"] <= NOW
    assert float(points[-1]["equity"]) == pytest.approx(sum(row["value"] for row in rows), abs=0.1)
    assert len(points) <= 201


def test_empty_marts_say_how_a_bot_gets_a_value(database):
    """Built without any bot, the page points to the live page."""
    fill_marts(database, rows=False)
    assert portfolio.built(database) is True
    assert "No bot has a value yet" in str(view(database, DAGSTER, "dark", [], NOW))


def test_the_curve_sums_all_bots_and_cash_that_joins_is_no_profit(database):
    """A bot counts with its starting cash until its first snapshot, then with its newest one."""
    fill_marts(database)
    points = portfolio.curve(database)
    assert points[0]["at"] == MORNING
    assert (points[0]["equity"], points[0]["cash"]) == (1_100 + 500, 100 + 500)
    assert points[-1]["at"] == MORNING + timedelta(minutes=10)
    assert (points[-1]["equity"], points[-1]["cash"]) == (1_200 + 450, 200 + 450)
    assert len(portfolio.curve(database, points=2)) == 3


def test_days_come_oldest_first_and_bots_by_rank(database):
    """Rows of the marts arrive with the newest day's profit of each bot and shares that sum to one."""
    fill_marts(database)
    assert [row["day"] for row in portfolio.days(database)] == [date(2026, 3, 1), date(2026, 3, 2)]
    assert [row["day"] for row in portfolio.days(database, limit=1)] == [date(2026, 3, 2)]
    bots = portfolio.bots(database)
    assert [(bot["bot_name"], bot["day_pnl"]) for bot in bots] == [("alpha", 100), ("beta", None)]
    rows = table_rows(bots)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert [row["max_drawdown"] for row in rows] == [-0.05, -0.1]


def test_events_come_newest_first(database):
    """The system page's list starts with what happened last."""
    for name in ("first", "second"):
        record_event(database, "warning", "collector", name, f"the {name} one")
    found = system.events(database, 1)
    assert [event["event"] for event in found] == ["second"]
    older = system.events(database, 5, before_id=found[0]["id"])
    assert [event["event"] for event in older] == ["first"]
    assert older[0]["timestamp"] <= datetime.now(UTC)


def test_a_missing_mart_counts_as_not_built(database):
    """One of the four models without the others is not a portfolio."""
    fill_marts(database)
    with database.begin() as connection:
        connection.execute(sa.text("drop table marts.bot_equity_curve"))
    assert portfolio.built(database) is False
