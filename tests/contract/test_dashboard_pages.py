"""What the portfolio, the sweeps and the system page read, on a real PostgreSQL."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa

from dashboards.accounts import table_rows
from dashboards.formatting import money
from dashboards.pages.portfolio import Asked, view
from dashboards.queries import portfolio, system
from dashboards.queries.bots import overview
from dashboards.rows import bot_row, day_start, epoch_ms
from dashboards.sweeps import sweep_parts
from pipelines.warehouse.database import engine
from pipelines.warehouse.health import record_event
from tests.dashboard_marts import IN_BITCOIN, MORNING, fill_marts
from tests.dashboard_seed import seed
from tests.research_seed import SWEEP, fill_research

pytestmark = pytest.mark.servers
DAGSTER = "http://127.0.0.1:3000/"
ASKED = Asked(DAGSTER)
LARGE = {
    "grid": {"fast_period": "4:12:4", "slow_period": "20:40:1"},
    "fixed": {},
    "combinations": 5_000,
}
OLD = "alter table marts.portfolio_daily drop column quote"
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
    assert "No bot has a value yet" in str(view(database, ASKED, [], NOW))
    seed(database, epoch_ms(NOW), minutes=120)
    rows = [bot_row(row, None, NOW) for row in overview(database, day_start(NOW))]
    shown = str(view(database, ASKED, rows, NOW))
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
    assert "No bot has a value yet" in str(view(database, ASKED, [], NOW))


def test_bots_that_the_marts_do_not_have_yet_are_shown_live(database):
    """Marts that were built before the first judged candle hide no bot, nor do those of another currency, and
    they look old once the bots have judged for half an hour."""
    fill_marts(database, rows=False)
    seed(database, epoch_ms(NOW), minutes=120)
    rows = [bot_row(row, None, NOW) for row in overview(database, day_start(NOW))]
    total = money(sum(row["value"] for row in rows))
    shown = str(view(database, ASKED, rows, NOW))
    assert total in shown and "first judged candle" not in shown
    assert timedelta(minutes=118) <= portfolio.behind(database) <= timedelta(hours=2)
    assert "warn-text" in shown and "is-stale" not in shown
    with database.begin() as connection:
        connection.execute(sa.text(IN_BITCOIN))
    both = str(view(database, ASKED, rows, NOW))
    assert total in both and "Value, BTC" in both and "1.000123" in both
    assert both.index("Value, USDT") < both.index("Value, BTC")


def test_a_sweep_shows_its_own_exchanges_walk_forward_and_says_which_rows_it_has(database):
    """Another exchange's walk-forward proves nothing of it; nor do the neighbours that were not kept."""
    fill_research(database, epoch_ms(NOW))

    def parts():
        return sweep_parts(database, SWEEP, "BTC-USDT 1m", "fast_period", "slow_period", "sharpe", "dark")

    whole = parts()
    assert "efficiency 50" in str(whole["walk"])
    assert "rows are kept" not in str(whole["cards"]) and str(whole["cards"]).count("'—'") == 0
    with database.begin() as connection:
        connection.execute(
            sa.text("update strategy_runs set exchange = 'binance', parameters = :said where id = :id"),
            {"said": json.dumps(LARGE), "id": SWEEP},
        )
    part = parts()
    assert "No walk-forward" in str(part["walk"])
    assert "The best 9 of 5,000 rows are kept" in str(part["cards"])
    assert str(part["cards"]).count("'—'") == 1
    assert part["lines"]["data"][0]["x"] == ["4", "8", "12"]
    assert len(part["lines"]["data"][1]["x"]) == 21


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


def test_currencies_stand_side_by_side_and_are_not_added_up(database):
    """A bot of another currency leaves the others' page as it is, and has cards, digits and a curve of its
    own below it; that of most bots comes first."""
    fill_marts(database)
    alone = str(view(database, ASKED, [], NOW))
    with database.begin() as connection:
        connection.execute(sa.text(IN_BITCOIN))
    shown = str(view(database, ASKED, [], NOW))
    assert "Value, USDT" in alone and "1,650.00" in alone and "currency" not in alone
    assert "1,650.00" in shown and "Value, BTC" in shown and "1.000123" in shown and "+0.000123" in shown
    assert shown.index("Value, USDT") < shown.index("Value, BTC")
    assert all(shown.count(f"id='portfolio-{part}-BTC'") == 1 for part in ("equity", "daily", "bots"))
    last = {point["quote"]: point["equity"] for point in portfolio.curve(database)}
    assert last == {"USDT": 1_650, "BTC": Decimal("1.000123")}
    assert [row["quote"] for row in portfolio.days(database, limit=1)] == ["BTC", "USDT"]


def test_yesterdays_profit_is_not_called_todays_and_old_numbers_look_old(database):
    """The newest day has its name once the exchange's day is another; numbers half an hour behind the bots'
    snapshots are dimmed and say who should renew them, but not for as long as no bot judges anything."""
    fill_marts(database)
    seed(database, epoch_ms(MORNING), minutes=60)
    with database.begin() as connection:
        connection.execute(sa.text("update marts.bot_leaderboard set snapshot_at = :at"), {"at": MORNING})
    shown = str(view(database, ASKED, [], MORNING))
    assert "P&L today" in shown and "'Today'" in shown
    later = str(view(database, ASKED, [], MORNING + timedelta(days=1)))
    assert "P&L Mar 02" in later and "'Mar 02'" in later and "oday" not in later
    assert all("is-stale" not in page and DAGSTER not in page for page in (shown, later))
    with database.begin() as connection:
        connection.execute(
            sa.text("update marts.bot_leaderboard set snapshot_at = :at"),
            {"at": MORNING - timedelta(hours=1)},
        )
    assert portfolio.behind(database) == timedelta(hours=1)
    stale = str(view(database, ASKED, [], MORNING))
    assert "is-stale" in stale and DAGSTER in stale
    assert "is-stale" not in str(view(database, Asked(DAGSTER, rate=10), [], MORNING))


def test_the_drawdown_is_that_of_the_curve_where_it_falls_deeper(database):
    """A day that closed higher than it was in between hides nothing."""
    fill_marts(database)
    with database.begin() as connection:
        connection.execute(
            sa.text("insert into marts.bot_equity_curve values (1, '2026-03-02 08:05+00', 815, 0)")
        )
    assert "−20.94" in str(view(database, ASKED, [], NOW))  # (815 + 450) of (1100 + 500)


@pytest.mark.parametrize("change", ["drop table marts.bot_equity_curve", OLD])
def test_a_missing_mart_counts_as_not_built(database, change):
    """Three of the four models are not a portfolio, nor is one of days without their currency."""
    fill_marts(database)
    with database.begin() as connection:
        connection.execute(sa.text(change))
    assert portfolio.built(database) is False
