"""Each kind of work is launched once, through the GraphQL API that Dagster's UI uses or in the UI itself, and
runs to its end."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import psycopg
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy.engine import make_url

from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine
from pipelines.warehouse.trades import copy_trades
from tests.dashboard_server import running
from tests.graph.dagster_stack import SYMBOLS, DagsterStack, wait
from tests.graph.dagster_ui import launch_from_launchpad, materialize, show_lineage

pytestmark = [pytest.mark.servers, pytest.mark.e2e, pytest.mark.timeout(1200)]

BACKFILLS = "{ partitionBackfillsOrError(limit: 1) { ... on PartitionBackfills { results { id } } } }"
DAY_MS = 86_400_000
MINUTE_MS = 60_000


def rows(stack: DagsterStack, query: str) -> list[tuple[object, ...]]:
    """The rows of a query on the stack's warehouse."""
    url = make_url(stack.database_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        return connection.execute(query.encode()).fetchall()


def days_ago(days: int) -> str:
    """A UTC day as its partition key."""
    return (datetime.now(UTC).date() - timedelta(days=days)).isoformat()


def store_candles(stack: DagsterStack, symbol: str, count: int, before: int = 0) -> None:
    """`count` minutes of a price that waves, ending at a fixed time, or that many minutes before it."""
    end_ms = 1_780_000_020_000 - 1_780_000_020_000 % MINUTE_MS - before * MINUTE_MS
    candles = []
    for minute in range(count):
        price = Decimal(100 + (minute % 40 if minute % 80 < 40 else 40 - minute % 40))
        close_ms = end_ms - (count - minute) * MINUTE_MS
        candles.append(
            Candle(symbol, Timeframe.M1, close_ms, price, price + 1, price - 1, price, Decimal(2), 1)
        )
    with engine(stack.database_url).begin() as connection:
        upsert_candles(connection, candles)


def store_trades(stack: DagsterStack, symbol: str, day: str) -> None:
    """500 trades of a day, one every three seconds, with ids from 1000."""
    midnight_ms = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)
    trades = [
        Trade(symbol, 1000 + n, midnight_ms + n * 3_000, Decimal("2500.5"), Decimal("0.01"), Side.BUY)
        for n in range(500)
    ]
    with engine(stack.database_url).begin() as connection:
        copy_trades(connection, trades)


def store_bot(stack: DagsterStack) -> None:
    """A bot that has not traded."""
    with engine(stack.database_url).begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO bots (name, strategy_name, symbol, timeframe, status, config, virtual_balance, "
            "current_balance) "
            "VALUES ('launched', 'ema_crossover', 'BTC-USDT', '1m', 'active', '{}', 1000, 1000)"
        )


BACKTEST = {
    "strategy": "ema_crossover",
    "symbol": "ADA-USDT",
    "parameters": {"fast_period": 5, "slow_period": 12},
    "cash": 5000.0,
}
SWEEP = {
    "strategy": "ema_crossover",
    "symbol": "XRP-USDT",
    "timeframe": "1m",
    "grid": {"fast_period": [3, 5, 8], "slow_period": "12:20:4"},
}


SEARCH = {
    "strategy": "rsi_reversion",
    "symbol": "ADA-USDT,XRP-USDT",
    "timeframe": "1m",
    "grid": {"period": "5:14:1", "stop_loss": [0.01, 0.02]},
    "where": ["period != 7"],
    "search": "optuna",
    "trials": 6,
}
WALK = {**SWEEP, "symbol": "ADA-USDT", "sort": "total_return", "windows": "rolling:train=4h,test=2h"}


@dataclass(frozen=True)
class Launched:
    """Ids of the runs, launched together: their starts overlap, and two of them run at a time."""

    days: list[str]
    backfill: str
    runs: dict[str, str]


@pytest.fixture(scope="module")
def launched(dagster_stack: DagsterStack) -> Launched:
    """The inputs stored, and everything launched as a person would, one after the other."""
    days = [days_ago(number) for number in range(32, 2, -1)]
    partitions = [f"{day}|{symbol}" for day in days for symbol in SYMBOLS]
    backfill = dagster_stack.backfill("candle_backfill", partitions)
    store_bot(dagster_stack)
    store_candles(dagster_stack, "ADA-USDT", 600)
    store_candles(dagster_stack, "XRP-USDT", 600)
    sweep = dagster_stack.home / "config" / "sweeps" / "ema_small.json"
    sweep.write_text(json.dumps(SWEEP))
    launch = dagster_stack.launch
    runs = {
        "models": launch("performance_job"),
        "backtest": launch("backtest_job", {"ops": {"backtest": {"config": BACKTEST}}}),
        "walk": launch("walk_forward_job", {"ops": {"walk_forward": {"config": WALK}}}),
        "parity": launch("parity_job"),
        "search": launch("sweep_job", {"ops": {"sweeps": {"config": SEARCH}}}),
        "future": launch("candle_backfill_job", partition={"date": days_ago(-5), "symbol": "BTC-USDT"}),
    }
    return Launched(days, backfill, runs)


def test_a_backfill_of_thirty_days_stores_every_minute(dagster_stack: DagsterStack, launched: Launched):
    """Thirty days of three symbols, launched from the partition dialog, are a green run a symbol and 43,200
    candles each, none of them missing, and every check says so."""
    runs = dagster_stack.backfill_runs(launched.backfill, count=3)
    assert [run["status"] for run in runs] == ["SUCCESS"] * 3
    ended = [dagster_stack.ended(run["id"]) for run in runs]
    assert {partition for run in ended for partition in run["partitions"]} == {
        f"{day}|{symbol}" for day in launched.days for symbol in SYMBOLS
    }
    passed = {
        "candles_are_continuous": True,
        "days_have_their_rows": True,
        "no_silence_without_an_outage": True,
    }
    assert [run["checks"] for run in ended] == [passed] * 3
    first = datetime.fromisoformat(launched.days[0]).replace(tzinfo=UTC)
    stored = rows(
        dagster_stack,
        "SELECT symbol, timeframe, count(*), min(timestamp), max(timestamp) FROM market_data "
        f"WHERE timestamp <= '{first + timedelta(days=30)}' AND timestamp > '{first}' "
        "AND symbol IN ('BTC-USDT', 'ETH-USDT', 'SOL-USDT') GROUP BY 1, 2 ORDER BY 1",
    )
    ends = (first + timedelta(minutes=1), first + timedelta(days=30))
    assert stored == [(symbol, "1m", 43_200, *ends) for symbol in SYMBOLS]


def test_a_backfill_of_the_future_fails_with_the_reason(dagster_stack: DagsterStack, launched: Launched):
    """A day the exchange has not reached is refused at once: no retry, no row, the reason in the event."""
    run = dagster_stack.ended(launched.runs["future"])
    assert run["status"] == "FAILURE"
    assert "future" in json.dumps(run["errors"])
    future = f"timestamp > '{days_ago(-5)}'"
    assert rows(dagster_stack, f"SELECT 1 FROM market_data WHERE {future} LIMIT 1") == []


def test_a_failed_run_is_a_system_event(dagster_stack: DagsterStack, launched: Launched):
    """The failure sensor writes the run that failed to system_events, where the dashboard looks."""
    dagster_stack.ended(launched.runs["future"])
    query = "SELECT level, details->>'run_id' FROM system_events WHERE component = 'dagster'"
    events = wait("the failure sensor", 180, lambda: rows(dagster_stack, query))
    assert events == [("error", launched.runs["future"])]


def test_the_dbt_models_are_built_and_tested(dagster_stack: DagsterStack, launched: Launched):
    """One run builds every model; each dbt test is a check of its asset, and the marts hold the bot."""
    run = dagster_stack.ended(launched.runs["models"])
    assert (run["status"], run["errors"]) == ("SUCCESS", [])
    assert {"staging/stg_bots", "intermediate/int_round_trips", "marts/portfolio_daily"} <= run["assets"]
    assert len(run["checks"]) > 40
    assert set(run["checks"].values()) == {True}
    leaderboard = rows(dagster_stack, "SELECT bot_name, pnl FROM marts.bot_leaderboard")
    assert leaderboard == [("launched", Decimal(0))]


def test_a_backtest_is_launched_with_typed_config(dagster_stack: DagsterStack, launched: Launched):
    """The config of the launchpad becomes the run that the dashboard shows under its id."""
    run = dagster_stack.ended(launched.runs["backtest"])
    assert (run["status"], run["errors"]) == ("SUCCESS", [])
    stored = rows(
        dagster_stack,
        "SELECT strategy_name, status, initial_cash, parameters->>'slow_period' FROM strategy_runs "
        "WHERE symbol = 'ADA-USDT' AND kind = 'backtest'",
    )
    assert stored == [("ema_crossover", "done", Decimal(5000), "12")]


def test_a_sweep_is_walked_forward(dagster_stack: DagsterStack, launched: Launched):
    """Ten hours of candles are three windows of training and test, kept with the record of all tests."""
    run = dagster_stack.ended(launched.runs["walk"])
    assert (run["status"], run["errors"]) == ("SUCCESS", [])
    windows = rows(
        dagster_stack,
        "SELECT r.symbol, count(*) FROM walk_forward_windows AS w JOIN strategy_runs AS r ON r.id = w.run_id "
        "WHERE r.kind = 'walk_forward' GROUP BY 1",
    )
    assert windows == [("ADA-USDT", 3)]


def test_parity_of_bots_without_a_life_is_no_difference(dagster_stack: DagsterStack, launched: Launched):
    """The nightly comparison runs where no bot has judged a candle yet."""
    run = dagster_stack.ended(launched.runs["parity"])
    assert (run["status"], run["errors"]) == ("SUCCESS", [])


def test_a_sweep_of_the_launchpad_is_run(dagster_stack: DagsterStack, launched: Launched):
    """A search over exits on two symbols, written in the launchpad, becomes its rows."""
    run = dagster_stack.ended(launched.runs["search"])
    assert (run["status"], run["errors"]) == ("SUCCESS", [])
    found = rows(
        dagster_stack,
        "SELECT symbol, count(*), count(DISTINCT parameters) FROM sweep_results "
        "WHERE parameters ? 'stop_loss' AND parameters->>'period' <> '7' GROUP BY 1 ORDER BY 1",
    )
    assert found == [("ADA-USDT", 6, 6), ("XRP-USDT", 6, 6)]


@pytest.mark.browser
def test_an_archive_is_launched_in_the_ui(dagster_stack: DagsterStack, page: Page):
    """A day and a symbol chosen in the dialog of the asset: its trades are in one Parquet file with a row in
    the manifest, the blocking check has read it back, and the rows stay in Postgres unless they are to go."""
    day = days_ago(40)  # without candles, which these trades would contradict
    store_trades(dagster_stack, "ETH-USDT", day)
    said = materialize(page, dagster_stack.url, "raw_trade_archive", day, "ETH-USDT")
    assert said == "Launch 1 run"
    run = dagster_stack.ended(dagster_stack.materialised_by("raw_trade_archive"))
    assert (run["status"], run["errors"]) == ("SUCCESS", [])
    assert run["checks"] == {"files_hold_what_the_manifest_says": True, "no_day_is_missing": True}
    ((path, count),) = rows(dagster_stack, "SELECT path, rows FROM lake_files WHERE symbol = 'ETH-USDT'")
    assert f"date={day}" in str(path)
    frame = pl.read_parquet(dagster_stack.home / "lake" / str(path))
    assert (count, frame.height, frame["trade_id"].to_list()) == (500, 500, list(range(1000, 1500)))
    assert rows(dagster_stack, "SELECT count(*) FROM raw_trades WHERE symbol = 'ETH-USDT'") == [(500,)]


@pytest.mark.browser
def test_a_backfill_is_launched_in_the_ui(dagster_stack: DagsterStack, launched: Launched, page: Page):
    """Two days of one symbol chosen in the dialog of the asset become one green run and 2,880 candles."""
    dagster_stack.backfill_runs(launched.backfill, count=3)
    days = (days_ago(34), days_ago(33))
    said = materialize(page, dagster_stack.url, "candle_backfill", f"[{days[0]}...{days[1]}]", "SOL-USDT")
    assert said == "Launch backfill"
    (newest, *_) = dagster_stack.ask(BACKFILLS)["partitionBackfillsOrError"]["results"]
    (run,) = dagster_stack.backfill_runs(newest["id"], count=1)
    assert run["status"] == "SUCCESS"
    stored = rows(
        dagster_stack,
        f"SELECT count(*) FROM market_data WHERE symbol = 'SOL-USDT' AND timestamp > '{days[0]}' "
        f"AND timestamp <= '{days_ago(32)}'",
    )
    assert stored == [(2880,)]


@pytest.mark.browser
def test_a_sweep_is_launched_in_the_ui(dagster_stack: DagsterStack, launched: Launched, page: Page):
    """The launchpad's own config runs every file of config/sweeps: a row each combination."""
    run_id = launch_from_launchpad(page, dagster_stack.url, "sweep_job")
    run = dagster_stack.ended(run_id)
    assert (run["status"], run["errors"]) == ("SUCCESS", [])
    combinations = rows(
        dagster_stack,
        "SELECT DISTINCT count(*), count(DISTINCT parameters) FROM sweep_results WHERE symbol = 'XRP-USDT' "
        "AND parameters ? 'fast_period' GROUP BY sweep_id",
    )
    assert combinations == [(9, 9)]


@pytest.mark.browser
def test_the_ui_shows_the_lineage_from_the_market_to_a_page(dagster_stack: DagsterStack, page: Page):
    """From candle_backfill over market_data and the models to the data page of the dashboard."""
    show_lineage(page, dagster_stack.url, "dashboard/data_page")
    for name in (
        "candle_backfill",
        "market_data",
        "stg_market_data",
        "int_candle_days",
        "feed_quality_daily",
    ):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()


@pytest.mark.browser
def test_a_long_backtest_is_launched_from_the_dashboard(
    dagster_stack: DagsterStack, page: Page, redis_url: str, unused_port: int
):
    """More than half a million candles are handed to Dagster: the page leads to the run and lists its result,
    the system page shows how it ended."""
    store_candles(dagster_stack, "DOGE-USDT", 600)
    store_candles(dagster_stack, "DOGE-USDT", 1, before=700_000)
    given = {"form-symbol": "DOGE-USDT", "form-period": ["2025-01-01", "2026-05-29"]}
    home, port = dagster_stack.home, dagster_stack.port
    with running(dagster_stack.database_url, redis_url, unused_port, home, dagster_port=port) as dashboard:
        page.goto(f"{dashboard.url}/backtests")
        page.locator("#run").wait_for()
        for field, value in given.items():
            page.evaluate("([id, value]) => dash_clientside.set_props(id, { value })", [field, value])
        page.locator("#run").click()
        link = page.locator("#run-step").get_by_role("link", name="see it there")
        run = dagster_stack.ended(str(link.get_attribute("href")).rpartition("/")[2])
        assert (run["status"], run["errors"]) == ("SUCCESS", [])
        expect(page.locator('#runs [col-id="market"]', has_text="DOGE-USDT")).to_be_visible()
        page.goto(f"{dashboard.url}/system")
        expect(page.locator("#dagster-runs li", has_text="backtest_job").first).to_contain_text("Done")
        page.close()  # before its server
