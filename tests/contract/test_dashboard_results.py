"""A backtest's page, on a real PostgreSQL: what stands behind its numbers."""

from datetime import UTC, datetime, timedelta
from itertools import product

import polars as pl
import pytest
import sqlalchemy as sa

from core.errors import BadInput
from dashboards.comparison import comparison_view, differences, newest, options, read
from dashboards.queries import comparisons, runs
from dashboards.results import holding, picture, result_view
from dashboards.run_details import believed
from dashboards.run_trades import trades_between, trades_table
from dashboards.stretches import common, measured
from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import STEPS, execute
from pipelines.warehouse import tables
from pipelines.warehouse.database import engine
from tests.dashboard_seed import seed
from tests.research_seed import BACKTEST, fill_research

pytestmark = pytest.mark.servers
NOW_MS = round(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp() * 1000)
ASKED = {
    "strategy": "ema_crossover",
    "symbol": "BTC-USDT",
    "timeframe": "1m",
    "parameters": {"fast_period": 3, "slow_period": 9},
}


OF_BOT = """
    select (select sum(fees) from trades t where t.bot_id = b.id and timestamp >= :since),
           (select count(*) from trades t where t.bot_id = b.id and timestamp >= :since and side = 'sell'),
           (select total_value from bot_performance p where p.bot_id = b.id and timestamp = :since),
           (select total_value from bot_performance p where p.bot_id = b.id order by timestamp desc limit 1)
    from bots b where name = 'bot_001'
"""


@pytest.fixture
def database(database_url):
    """A migrated database with a seeded market."""
    found = engine(database_url)
    seed(found, NOW_MS, minutes=2_400)
    yield found
    found.dispose()
    engine.cache_clear()


def test_intervals_of_a_stored_run_are_those_of_a_validated_one(database, database_url):
    """What the page computes from the stored curve and trades is what `--validate` says of the run itself."""
    request = BacktestRequest.read(ASKED)
    begun = []
    plain = execute(request, database_url, on_step=begun.append)
    assert tuple(begun) == STEPS
    trials = believed_of(database, plain.id)["sharpe"]["trials"]
    judged = execute(request, database_url, validate=True, trials=trials, save=False).validation
    found = believed_of(database, plain.id)
    assert judged is not None
    assert set(found["intervals"]) == {"sharpe", "total_return", "max_drawdown", "win_rate"}
    for name, pair in found["intervals"].items():
        assert pair == pytest.approx(judged["intervals"][name], rel=1e-9), name
    assert found["returns"]["observations"] == judged["returns"]["observations"]
    assert found["sharpe"]["probabilistic"] == pytest.approx(judged["sharpe"]["probabilistic"])


def test_what_was_stored_with_a_run_is_shown_as_it_is(database, database_url):
    """A validated run is not judged a second time."""
    run = execute(BacktestRequest.read(ASKED), database_url, validate=True, trials=77)
    assert believed_of(database, run.id)["sharpe"]["trials"] == 77


def test_the_page_has_intervals_months_and_how_trades_ended(database):
    """Of a run without round trips too, and of one whose curve was not kept."""
    fill_research(database, NOW_MS)
    shown = str(result_view(database, BACKTEST, "dark"))
    for words in ("How sure is it?", "Months (UTC)", "No round trip was closed", "Stationary bootstrap"):
        assert words in shown
    with database.begin() as connection:
        connection.execute(sa.delete(tables.backtest_equity))
    assert "How sure is it?" not in str(result_view(database, BACKTEST, "dark"))


def test_round_trips_come_in_blocks_and_in_any_order(database, database_url):
    """Blocks after one another are all rows of the whole table, as sorted by who has them all; what is still
    open has no profit, and comes last."""
    run = execute(BacktestRequest.read(ASKED), database_url)
    with database.begin() as connection:
        last = sa.select(sa.func.max(tables.backtest_trades.c.n)).scalar_subquery()
        still = sa.update(tables.backtest_trades).where(tables.backtest_trades.c.n == last)
        connection.execute(still.values(exit_time=None, exit_price=None, pnl=None, exit_reason=None))
    whole = trades_table(runs.run_trades(database, run.id), 2, 2).rowData
    assert len(whole) > 30
    for order, direction in product(
        ("n", "entry_ms", "exit_ms", "pnl", "return", "exit_reason"), ("asc", "desc")
    ):
        asked = {"sortModel": [{"colId": order, "sort": direction}]}
        found = [
            trades_between(database, run.id, asked | {"startRow": first, "endRow": first + 20})
            for first in range(0, len(whole), 20)
        ]
        assert {block["rowCount"] for block in found} == {len(whole)}
        known = [row for row in whole if row[order] is not None]
        known.sort(key=lambda row: row[order], reverse=direction == "desc")
        unknown = [row for row in whole if row[order] is None]
        assert [row for block in found for row in block["rowData"]] == known + unknown, (order, direction)


def test_an_order_that_there_is_not_is_told(database):
    """What a browser sends becomes no SQL."""
    asked = {"startRow": 0, "endRow": 9, "sortModel": [{"colId": "run_id; drop table bots", "sort": "asc"}]}
    with pytest.raises(BadInput, match="order"):
        trades_between(database, "x", asked)


def test_the_line_of_holding_is_that_of_the_card(database, database_url):
    """It has the curve's times, from the first candle that was judged, and ends with it at the card's return,
    though the candles drawn are longer ones, the last of which was over before."""
    asked = ASKED | {"start": "2026-03-02T00:00:00Z", "end": "2026-03-02T05:58:00Z"}
    made = execute(BacktestRequest.read(asked), database_url)
    run = runs.run(database, made.id)
    line = holding(comparisons.run_curve(database, made.id), 1_000.0)
    assert line["timestamp"][0] == made.start + timedelta(minutes=1)
    assert line["timestamp"][-1] == made.end
    assert line["equity"][0] == 1_000.0
    card = run["metrics"]["buy_and_hold_return"]
    assert line["equity"][-1] == pytest.approx(1_000.0 * (1 + card)) != 1_000.0
    longer = run | {"start_time": made.start - timedelta(days=5)}
    assert picture(database, longer)[1]["timestamp"][-1] < made.end
    assert holding(comparisons.run_curve(database, made.id).drop("close"), 1_000.0) is None


def test_a_run_and_a_bot_are_compared_over_the_time_of_both(database, database_url):
    """A run of the last hours is what it was, but for its growth a year; the bot, which is older, has the
    return, trips and fees of those hours alone. What the page tells of luck is there as rows. A deleted bot
    is not offered, nor chosen by itself."""
    since = datetime(2026, 3, 2, 2, tzinfo=UTC)
    run = execute(BacktestRequest.read(ASKED | {"start": since.isoformat()}), database_url)
    chosen = ["bot:bot_001", run.id]
    [alone] = read(database, chosen[:1])
    assert alone.stretch == alone.life == comparisons.bot_life(database, 1)
    columns = read(database, chosen)
    stretch = common(columns)
    bot, same = measured(columns, stretch)
    assert same.metrics == {**columns[1].metrics, "cagr": None} and stretch == same.stretch
    assert columns[1].metrics["cagr"] is not None and bot.metrics["cagr"] is None
    with database.connect() as connection:
        fees, sells, first, last = connection.execute(sa.text(OF_BOT), {"since": stretch[0]}).one()
    assert 0 < sells == bot.metrics["closed_trades"] < alone.metrics["closed_trades"]
    assert bot.metrics["fees"] == pytest.approx(float(fees))
    assert bot.metrics["total_return"] == pytest.approx(float(last / first) - 1)
    trips = columns[1].trips(*stretch)
    assert trips["trades"] == same.metrics["closed_trades"] > 0
    assert trips["fees"] == pytest.approx(same.metrics["fees"])
    page = str(comparison_view(database, chosen, "first", "dark"))
    assert (
        "Mar 02 02:0" in page
        and "live · values every 1m" in page
        and "/api/compare/differences?format=csv&of=bot%3Abot_001&of=" in page
    )
    [row] = differences(database, chosen, "first")
    assert (row["of"], row["benchmark"]) == (run.id, "bot:bot_001") and 0 <= row["p_value"] <= 1
    assert f"{row['p_corrected']:.3f}" in page and row["verdict"] in page
    held = differences(database, chosen, "buy_and_hold")
    assert [each["of"] for each in held] == chosen and held[0]["benchmark"] == "buy_and_hold"
    assert newest(database)[0] == "bot:bot_001"
    with database.begin() as connection:
        connection.execute(sa.text("update bots set deleted_at = now() where name = 'bot_001'"))
    assert newest(database)[0] == "bot:bot_002"
    assert "bot_001" not in str(options(database))


def believed_of(database, run_id):
    """What the page says of a stored run."""
    run = runs.run(database, run_id)
    curve = comparisons.run_curve(database, run_id)
    assert isinstance(curve, pl.DataFrame)
    return believed(database, run, curve, runs.run_trades(database, run_id))
