"""Each kind of work is launched once through the GraphQL API that Dagster's UI uses, and runs to its end."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

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
from tests.graph.dagster_stack import DagsterStack

pytestmark = [pytest.mark.servers, pytest.mark.e2e, pytest.mark.timeout(600)]

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


def test_a_backfill_of_two_days_stores_every_minute(dagster_stack: DagsterStack):
    """Two days of one symbol, launched from the partition dialog, are one run with 2,880 candles."""
    days = [days_ago(3), days_ago(2)]
    backfill = dagster_stack.backfill("candle_backfill", [f"{day}|SOL-USDT" for day in days])
    runs = dagster_stack.backfill_runs(backfill)
    assert [run["status"] for run in runs] == ["SUCCESS"]
    run = dagster_stack.ended(runs[0]["id"])
    assert run["partitions"] == {f"{day}|SOL-USDT" for day in days}
    assert run["checks"] == {"candles_are_continuous": True}
    stored = rows(
        dagster_stack,
        "SELECT timeframe, count(*), min(timestamp), max(timestamp) FROM market_data "
        "WHERE symbol = 'SOL-USDT' GROUP BY 1",
    )
    first = datetime.fromisoformat(days[0]).replace(tzinfo=UTC)
    assert stored == [("1m", 2880, first + timedelta(minutes=1), first + timedelta(days=2))]


def test_a_backfill_of_the_future_fails_with_the_reason(dagster_stack: DagsterStack):
    """A day the exchange has not reached is refused at once: no retry, no row, the reason in the event."""
    partition = {"date": days_ago(-5), "symbol": "BTC-USDT"}
    run = dagster_stack.ended(dagster_stack.launch("candle_backfill_job", partition=partition))
    assert run["status"] == "FAILURE"
    assert "future" in json.dumps(run["errors"])
    assert rows(dagster_stack, "SELECT 1 FROM market_data WHERE symbol = 'BTC-USDT' LIMIT 1") == []


def test_an_archive_writes_the_days_trades_as_parquet(dagster_stack: DagsterStack):
    """A day's raw trades are in one Parquet file with a manifest row; with drop they leave Postgres."""
    day = days_ago(10)
    midnight_ms = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1000)
    trades = [
        Trade("ETH-USDT", 1000 + n, midnight_ms + n * 3_000, Decimal("2500.5"), Decimal("0.01"), Side.BUY)
        for n in range(500)
    ]
    with engine(dagster_stack.database_url).begin() as connection:
        copy_trades(connection, trades)
    run = dagster_stack.ended(
        dagster_stack.launch(
            "archive_job",
            {"ops": {"raw_trade_archive": {"config": {"drop": True}}}},
            {"date": day, "symbol": "ETH-USDT"},
        )
    )
    assert (run["status"], run["errors"]) == ("SUCCESS", [])
    assert run["checks"] == {"files_hold_what_the_manifest_says": True}
    ((path, count),) = rows(dagster_stack, "SELECT path, rows FROM lake_files WHERE symbol = 'ETH-USDT'")
    frame = pl.read_parquet(dagster_stack.home / "lake" / str(path))
    assert (count, frame.height, frame["trade_id"].to_list()) == (500, 500, list(range(1000, 1500)))
    assert rows(dagster_stack, "SELECT count(*) FROM raw_trades WHERE symbol = 'ETH-USDT'") == [(0,)]


def test_the_dbt_models_are_built_and_tested(dagster_stack: DagsterStack):
    """One run builds every model; each dbt test is a check of its asset, and the marts hold the bot."""
    with engine(dagster_stack.database_url).begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO bots (name, strategy_name, symbol, timeframe, status, config, virtual_balance, "
            "current_balance) "
            "VALUES ('launched', 'ema_crossover', 'BTC-USDT', '1m', 'active', '{}', 1000, 1000)"
        )
    run = dagster_stack.ended(dagster_stack.launch("performance_job"))
    assert (run["status"], run["errors"]) == ("SUCCESS", [])
    assert {"staging/stg_bots", "intermediate/int_round_trips", "marts/portfolio_daily"} <= run["assets"]
    assert len(run["checks"]) > 40
    assert set(run["checks"].values()) == {True}
    leaderboard = rows(dagster_stack, "SELECT bot_name, pnl FROM marts.bot_leaderboard")
    assert leaderboard == [("launched", Decimal(0))]


def test_a_backtest_is_launched_with_typed_config(dagster_stack: DagsterStack):
    """The config of the launchpad becomes the run that the dashboard shows under its id."""
    store_candles(dagster_stack, "ADA-USDT", 600)
    config = {
        "strategy": "ema_crossover",
        "symbol": "ADA-USDT",
        "parameters": {"fast_period": 5, "slow_period": 12},
        "cash": 5000.0,
    }
    run = dagster_stack.ended(dagster_stack.launch("backtest_job", {"ops": {"backtest": {"config": config}}}))
    assert (run["status"], run["errors"]) == ("SUCCESS", [])
    stored = rows(
        dagster_stack,
        "SELECT strategy_name, status, initial_cash, parameters->>'slow_period' FROM strategy_runs "
        "WHERE symbol = 'ADA-USDT' AND kind = 'backtest'",
    )
    assert stored == [("ema_crossover", "done", Decimal(5000), "12")]


def test_a_sweep_file_is_run(dagster_stack: DagsterStack, sweeps_folder: Path):
    """A file of config/sweeps becomes a row of sweep_results for each combination."""
    store_candles(dagster_stack, "XRP-USDT", 600)
    sweep = {
        "strategy": "ema_crossover",
        "symbol": "XRP-USDT",
        "timeframe": "1m",
        "grid": {"fast_period": [3, 5, 8], "slow_period": "12:20:4"},
    }
    (sweeps_folder / "ema_small.json").write_text(json.dumps(sweep))
    config = {"ops": {"sweeps": {"config": {"file": "ema_small"}}}}
    run = dagster_stack.ended(dagster_stack.launch("sweep_job", config))
    assert (run["status"], run["errors"]) == ("SUCCESS", [])
    combinations = rows(
        dagster_stack,
        "SELECT count(*), count(DISTINCT parameters) FROM sweep_results WHERE symbol = 'XRP-USDT'",
    )
    assert combinations == [(9, 9)]
