"""Building the dbt project in a home of its own, and what its marts must say afterwards."""

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from orchestration.dbt_command import run_dbt
from orchestration.dbt_definitions import rebuild_redefined
from orchestration.dbt_window import event_times
from pipelines.validation.two_definitions import compare_definitions
from pipelines.warehouse.database import engine
from pipelines.warehouse.retention import thin_snapshots
from tests.graph import bot_history


def read(database_url: str, query: str) -> list[dict[str, Any]]:
    """The rows of a query, by column."""
    with engine(database_url).connect() as connection:
        return [dict(row) for row in connection.execute(text(query)).mappings()]


def results(home: Path) -> dict[str, set[str]]:
    """Kind of node (model, test, unit_test) → statuses of the last dbt run; exposures are nothing to run."""
    found: dict[str, set[str]] = {}
    document = json.loads((home / "dbt" / "target" / "run_results.json").read_text(encoding="utf-8"))
    for result in document["results"]:
        kind = result["unique_id"].partition(".")[0]
        if kind != "exposure":
            found.setdefault(kind, set()).add(result["status"])
    return found


def build(home: Path, database_url: str, *more: str) -> None:
    """Build and test every model, as Dagster does."""
    rebuild_redefined(home, database_url)
    arguments = [
        "build",
        "--quiet",
        "--exclude-resource-type",
        "unit_test",
        *event_times(database_url),
        *more,
    ]
    run_dbt(arguments, home, database_url)


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Amounts to 12 places (the table keeps 18), ratios to 1e-9."""
    for name, value in expected.items():
        if isinstance(value, Decimal):
            assert abs(found[name] - value) < Decimal("1e-12"), name
        elif isinstance(value, float):
            assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-11), name
        else:
            assert found[name] == value, name


def assert_marts(database_url: str, history: list[bot_history.Bot]) -> None:
    """Every mart of bots says what plain Python says."""
    rows = read(database_url, "SELECT * FROM marts.bot_daily_pnl")
    expected_days = bot_history.daily(history)
    assert {(row["bot_name"], row["day"]) for row in rows} == expected_days.keys()
    for row in rows:
        assert_equal(row, expected_days[row["bot_name"], row["day"]])

    for query, expected in (
        ("SELECT * FROM marts.bot_trade_statistics", bot_history.statistics(history)),
        ("SELECT * FROM marts.bot_leaderboard", bot_history.standings(history)),
    ):
        rows = read(database_url, query)
        assert {row["bot_name"] for row in rows} == expected.keys()
        for row in rows:
            assert_equal(row, expected[row["bot_name"]])

    rows = read(database_url, "SELECT * FROM marts.bot_exposure_daily")
    expected_exposure = bot_history.exposure(history)
    assert {(row["bot_name"], row["day"]) for row in rows} == expected_exposure.keys()
    for row in rows:
        assert_equal(row, expected_exposure[row["bot_name"], row["day"]])

    rows = read(database_url, "SELECT * FROM marts.bot_drawdowns ORDER BY bot_name, peak_value")
    for name, expected_drawdowns in bot_history.drawdowns(history).items():
        own = [row for row in rows if row["bot_name"] == name]
        assert [(row["trough_at"], row["recovered_at"]) for row in own] == [d[:2] for d in expected_drawdowns]
        assert [row["depth"] for row in own] == pytest.approx([d[2] for d in expected_drawdowns], rel=1e-9)

    rows = read(database_url, "SELECT * FROM marts.portfolio_daily ORDER BY quote, day")
    expected_portfolio = bot_history.portfolio(history)
    assert [(row["quote"], row["day"]) for row in rows] == list(expected_portfolio)
    for row in rows:
        assert_equal(row, expected_portfolio[row["quote"], row["day"]])


RUNS = """
    INSERT INTO strategy_runs (id, kind, strategy_name, symbol, timeframe, parameters, start_time, end_time,
                               status, candles, initial_cash, final_value, metrics)
    SELECT kind || n, kind, strategy, 'BTC-USDT', '1m', '{}', '2026-02-01', '2026-03-01', 'done', 9, 1000,
           1000 + 10 * n, jsonb_build_object(
               'total_return', 0.01 * n, 'sharpe', 1.5 - n, 'max_drawdown', -0.1 * n, 'win_rate', 0.5,
               'profit_factor', 2, 'closed_trades', 3, 'trades', 4)
    FROM unnest(ARRAY['backtest', 'walk_forward']) AS kind, unnest(ARRAY['invented', 'Other']) AS strategy,
         LATERAL generate_series(CASE strategy WHEN 'Other' THEN 4 ELSE 1 END,
                                 CASE strategy WHEN 'Other' THEN 4 ELSE 3 END) AS n;
    INSERT INTO walk_forward_windows (run_id, n, train_start, train_end, test_start, test_end, parameters,
                                      train_metrics, test_metrics)
    SELECT id, n, start_time, start_time, start_time, start_time, '{}',
           jsonb_build_object('total_return', 0.3 * n), jsonb_build_object('total_return', 0.1 - 0.07 * n)
    FROM strategy_runs, generate_series(1, 3) AS n WHERE kind = 'walk_forward';
    INSERT INTO strategy_runs (id, kind, strategy_name, symbol, timeframe, parameters, start_time, end_time,
                               status, candles, initial_cash, finished_at)
    SELECT id, 'sweep', 'invented', 'BTC-USDT', '1m', counts, '2026-02-01', '2026-03-01', 'done', 9, 1000,
           '2026-03-01'
    FROM (VALUES ('sweep', '{}'::jsonb), ('large', '{"combinations": 400000}')) AS known (id, counts);
    INSERT INTO sweep_results (sweep_id, n, symbol, timeframe, parameters, metrics)
    SELECT id, n, 'BTC-USDT', '1m', jsonb_build_object('period', n),
           jsonb_build_object('sharpe', CASE WHEN n < 4 THEN 2.5 - n END, 'total_return', 0.5 - 0.2 * n)
    FROM unnest(ARRAY['sweep', 'large']) AS id, generate_series(1, 4) AS n
"""
CHANGED = {
    ("bot alpha", "fees"): "bot_trade_statistics SET fees = fees + 1e-15 WHERE bot_name = 'alpha'",
    ("bot beta", "sharpe"): "bot_risk SET sharpe = sharpe * 1.001 WHERE bot_name = 'beta'",
    ("bot gamma", "calmar"): "bot_risk SET calmar = calmar * 1.001 WHERE bot_name = 'gamma'",
    ("bot gamma", "time_in_market"): "bot_risk SET time_in_market = 1.5 WHERE bot_name = 'gamma'",
    ("bot gamma on 2026-03-04", "max_drawdown"): "bot_exposure_daily SET max_drawdown = 0.9 "
    "WHERE bot_name = 'gamma' AND day = '2026-03-04'",
    ("bot gamma on 2026-03-04", "snapshots"): "bot_exposure_daily SET snapshots = snapshots - 1 "
    "WHERE bot_name = 'gamma' AND day = '2026-03-04'",
    ("profit of alpha on 2026-03-03", "pnl"): "bot_daily_pnl SET pnl = pnl + 1e-15 "
    "WHERE bot_name = 'alpha' AND day = '2026-03-03'",
    ("profit of beta on 2026-03-02", "winning_trades"): "bot_daily_pnl SET winning_trades = 99 "
    "WHERE bot_name = 'beta' AND day = '2026-03-02'",
    ("costs of alpha on 2026-03-02", "turnover"): "bot_costs_daily SET turnover = turnover * 2 "
    "WHERE bot_name = 'alpha' AND day = '2026-03-02'",
    ("portfolio in USDT on 2026-03-02", "fees"): "portfolio_daily SET fees = fees + 1 "
    "WHERE quote = 'USDT' AND day = '2026-03-02'",
    ("portfolio in USDT on 2026-03-02", "growth"): "portfolio_daily SET growth = 1 "
    "WHERE quote = 'USDT' AND day = '2026-03-02'",
    ("portfolio in USDT on 2026-03-03", "drawdown"): "portfolio_daily SET drawdown = 0.9 "
    "WHERE quote = 'USDT' AND day = '2026-03-03'",
    ("standing of alpha", "place"): "bot_leaderboard SET place = 7 WHERE bot_name = 'alpha'",
    ("strategy invented in USDT", "win_rate"): "strategy_leaderboard SET win_rate = 0 "
    "WHERE quote = 'USDT' AND strategy_name = 'invented'",
    ("strategy invented in BTC", "pnl"): "strategy_leaderboard SET pnl = pnl + 1e-15 WHERE quote = 'BTC'",
    ("strategy other in USDT", "median_backtest_sharpe"): "strategy_leaderboard "
    "SET median_backtest_sharpe = 0 WHERE strategy_name = 'other'",
    ("backtest backtest1", "closed_trades"): "backtest_summary SET closed_trades = 4 "
    "WHERE run_id = 'backtest1'",
    ("sweep sweep", "median_sharpe"): "sweep_summary SET median_sharpe = 1 WHERE sweep_id = 'sweep'",
    ("sweep large", "share_profitable"): "sweep_summary SET share_profitable = 0.5 WHERE sweep_id = 'large'",
    ("backtest and life of alpha", "backtest_max_drawdown"): "backtest_versus_live "
    "SET backtest_max_drawdown = 0.9 WHERE bot_name = 'alpha'",
    ("backtest and life of beta", "live_daily_return"): "backtest_versus_live SET live_daily_return = 0 "
    "WHERE bot_name = 'beta'",
    ("walk-forward walk_forward2", "sharpe"): "walk_forward_summary SET sharpe = 0 "
    "WHERE run_id = 'walk_forward2'",
}


def assert_both_definitions_agree(database_url: str) -> None:
    """`core.metrics` over the stored rows says what the marts say, also when retention has thinned the oldest
    days, whose exposure is left out; until a mart is changed."""
    compared = compare_definitions(engine(database_url))
    assert (compared.bots, compared.runs, compared.differences) == (4, 10, [])
    assert compared.metrics > 200
    thinned_until = bot_history.START + timedelta(days=3)
    with engine(database_url).begin() as connection:
        connection.execute(text("CREATE TABLE whole AS SELECT * FROM bot_performance"))
        assert (
            sum(thin_snapshots(connection, bot, bot_history.START, thinned_until) for bot in (1, 2, 3)) > 300
        )
    thinned = compare_definitions(engine(database_url))
    assert (thinned.bots, thinned.differences) == (4, [])
    assert thinned.metrics < compared.metrics
    with engine(database_url).begin() as connection:
        connection.execute(text("TRUNCATE bot_performance"))
        connection.execute(text("INSERT INTO bot_performance SELECT * FROM whole"))
        for change in CHANGED.values():
            connection.execute(text(f"UPDATE marts.{change}"))
    differing = compare_definitions(engine(database_url)).differences
    assert {(found.of, found.metric) for found in differing} == CHANGED.keys()
