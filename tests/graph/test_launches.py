"""Each kind of work is launched once through the GraphQL API that Dagster's UI uses, and runs to its end."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import psycopg
import pytest
from sqlalchemy.engine import make_url

from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine
from pipelines.warehouse.trades import copy_trades
from tests.graph.dagster_stack import DagsterStack, wait

pytestmark = [pytest.mark.servers, pytest.mark.e2e, pytest.mark.timeout(900)]

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


def store_candles(stack: DagsterStack, symbol: str, count: int) -> None:
    """`count` minutes of a price that waves, ending at a fixed time."""
    end_ms = 1_780_000_020_000 - 1_780_000_020_000 % MINUTE_MS
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


@dataclass(frozen=True)
class Launched:
    """Ids of the runs, launched together: their starts overlap, and two of them run at a time."""

    days: tuple[str, str]
    backfill: str
    archived_day: str
    runs: dict[str, str]


@pytest.fixture(scope="module")
def launched(dagster_stack: DagsterStack) -> Launched:
    """The inputs stored, and everything launched as a person would, one after the other."""
    days, archived_day = (days_ago(3), days_ago(2)), days_ago(10)
    backfill = dagster_stack.backfill("candle_backfill", [f"{day}|SOL-USDT" for day in days])
    store_bot(dagster_stack)
    store_candles(dagster_stack, "ADA-USDT", 600)
    store_candles(dagster_stack, "XRP-USDT", 600)
    store_trades(dagster_stack, "ETH-USDT", archived_day)
    sweep = dagster_stack.home / "config" / "sweeps" / "ema_small.json"
    sweep.write_text(json.dumps(SWEEP))
    launch = dagster_stack.launch
    runs = {
        "models": launch("performance_job"),
        "archive": launch(
            "archive_job",
            {"ops": {"raw_trade_archive": {"config": {"drop": True}}}},
            {"date": archived_day, "symbol": "ETH-USDT"},
        ),
        "backtest": launch("backtest_job", {"ops": {"backtest": {"config": BACKTEST}}}),
        "sweep": launch("sweep_job", {"ops": {"sweeps": {"config": {"file": "ema_small"}}}}),
        "parity": launch("parity_job"),
        "search": launch("sweep_job", {"ops": {"sweeps": {"config": SEARCH}}}),
        "future": launch("candle_backfill_job", partition={"date": days_ago(-5), "symbol": "BTC-USDT"}),
    }
    return Launched(days, backfill, archived_day, runs)


def test_a_backfill_of_two_days_stores_every_minute(dagster_stack: DagsterStack, launched: Launched):
    """Two days of one symbol, launched from the partition dialog, are one run with 2,880 candles."""
    runs = dagster_stack.backfill_runs(launched.backfill)
    assert [run["status"] for run in runs] == ["SUCCESS"]
    run = dagster_stack.ended(runs[0]["id"])
    assert run["partitions"] == {f"{day}|SOL-USDT" for day in launched.days}
    assert run["checks"] == {"candles_are_continuous": True}
    stored = rows(
        dagster_stack,
        "SELECT timeframe, count(*), min(timestamp), max(timestamp) FROM market_data "
        "WHERE symbol = 'SOL-USDT' GROUP BY 1",
    )
    first = datetime.fromisoformat(launched.days[0]).replace(tzinfo=UTC)
    assert stored == [("1m", 2880, first + timedelta(minutes=1), first + timedelta(days=2))]


def test_a_backfill_of_the_future_fails_with_the_reason(dagster_stack: DagsterStack, launched: Launched):
    """A day the exchange has not reached is refused at once: no retry, no row, the reason in the event."""
    run = dagster_stack.ended(launched.runs["future"])
    assert run["status"] == "FAILURE"
    assert "future" in json.dumps(run["errors"])
    assert rows(dagster_stack, "SELECT 1 FROM market_data WHERE symbol = 'BTC-USDT' LIMIT 1") == []


def test_a_failed_run_is_a_system_event(dagster_stack: DagsterStack, launched: Launched):
    """The failure sensor writes the run that failed to system_events, where the dashboard looks."""
    dagster_stack.ended(launched.runs["future"])
    query = "SELECT level, details->>'run_id' FROM system_events WHERE component = 'dagster'"
    events = wait("the failure sensor", 180, lambda: rows(dagster_stack, query))
    assert events == [("error", launched.runs["future"])]


def test_an_archive_writes_the_days_trades_as_parquet(dagster_stack: DagsterStack, launched: Launched):
    """A day's raw trades are in one Parquet file with a manifest row; with drop they leave Postgres."""
    run = dagster_stack.ended(launched.runs["archive"])
    assert (run["status"], run["errors"]) == ("SUCCESS", [])
    assert run["checks"] == {"files_hold_what_the_manifest_says": True}
    ((path, count),) = rows(dagster_stack, "SELECT path, rows FROM lake_files WHERE symbol = 'ETH-USDT'")
    assert f"date={launched.archived_day}" in str(path)
    frame = pl.read_parquet(dagster_stack.home / "lake" / str(path))
    assert (count, frame.height, frame["trade_id"].to_list()) == (500, 500, list(range(1000, 1500)))
    assert rows(dagster_stack, "SELECT count(*) FROM raw_trades WHERE symbol = 'ETH-USDT'") == [(0,)]


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


def test_a_sweep_file_is_run(dagster_stack: DagsterStack, launched: Launched):
    """A file of config/sweeps becomes a row of sweep_results for each combination."""
    run = dagster_stack.ended(launched.runs["sweep"])
    assert (run["status"], run["errors"]) == ("SUCCESS", [])
    combinations = rows(
        dagster_stack,
        "SELECT count(*), count(DISTINCT parameters) FROM sweep_results WHERE symbol = 'XRP-USDT' "
        "AND parameters ? 'fast_period'",
    )
    assert combinations == [(9, 9)]


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
