"""The dbt project: it builds from nothing, and from a filled warehouse its marts say what Python says."""

import json
import shutil
import urllib.request
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from core.errors import BadInput, Unavailable
from orchestration.dbt_command import run_dbt
from orchestration.dbt_definitions import fingerprints, rebuild_redefined
from orchestration.dbt_window import event_times
from orchestration.docs_site import build_site, make_server
from pipelines.validation.two_definitions import compare_definitions
from pipelines.warehouse.database import engine
from pipelines.warehouse.retention import thin_snapshots
from pipelines.warehouse.tables import metadata
from tests.graph import bot_history

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]


@pytest.fixture
def dbt_home(parsed_home: Path, tmp_path: Path) -> Path:
    """A home of its own, with the parse that is there already."""
    shutil.copytree(parsed_home / "dbt", tmp_path / "dbt")
    return tmp_path


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


COLUMNS = """
    SELECT table_schema, table_name, column_name FROM information_schema.columns
    WHERE table_schema IN ('staging', 'intermediate', 'marts')
"""


def test_an_empty_warehouse_builds_and_every_unit_test_passes(database_url: str, dbt_home: Path):
    """`dbt build` on empty tables makes every mart, empty, and passes all tests and unit tests. Every column
    of every model is in its yml, where another test wants a description of it."""
    run_dbt(["build", "--quiet", *event_times(database_url)], dbt_home, database_url)
    assert results(dbt_home) == {"model": {"success"}, "test": {"pass"}, "unit_test": {"pass"}}
    marts = read(
        database_url, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'marts'"
    )
    assert {row["table_name"] for row in marts} >= {"bot_daily_pnl", "bot_equity_curve", "portfolio_daily"}
    assert read(database_url, "SELECT * FROM marts.bot_leaderboard") == []
    made = read(database_url, COLUMNS)
    manifest = json.loads((dbt_home / "dbt" / "manifest.json").read_text(encoding="utf-8"))
    told = {
        (node["schema"], node["name"], column)
        for node in manifest["nodes"].values()
        for column in (node["columns"] if node["resource_type"] == "model" else ())
    }
    assert {(row["table_schema"], row["table_name"], row["column_name"]) for row in made} == told


def test_the_marts_equal_an_independent_calculation(database_url: str, dbt_home: Path):
    """Daily profit, statistics, drawdowns, exposure and portfolio of random bots, to the last digit that
    matters, built in three steps: half of the time; the days that were not seen yet, in one of which the
    curve cannot be written, so that the days after it have peaks without its highs; and that one again with
    those after it."""
    history = bot_history.invent(seed=7)
    half = bot_history.START + timedelta(days=1, hours=15)
    with engine(database_url).begin() as connection:
        bot_history.store_bots(connection, history)
        bot_history.store(connection, history, bot_history.START, half)
        connection.execute(text(RUNS))
    assert rebuild_redefined(dbt_home, database_url) == []
    run_dbt(["run", "--quiet", *event_times(database_url)], dbt_home, database_url)

    refused = "ADD CONSTRAINT not_this_day CHECK (day <> '2026-03-04')"
    with engine(database_url).begin() as connection:
        bot_history.store(connection, history, half, half + timedelta(days=9))
        connection.execute(text(f"ALTER TABLE intermediate.int_equity_curve {refused}"))
    window = event_times(database_url)
    assert window[1::2] == ["2026-03-02", "2026-03-06"]
    with pytest.raises(Unavailable, match="dbt run failed"):
        run_dbt(["run", "--quiet", "--select", "int_equity_curve", *window], dbt_home, database_url)
    run_dbt(["run", "--quiet", "--select", "int_equity_stretches", *window], dbt_home, database_url)
    days = read(database_url, "SELECT DISTINCT day FROM intermediate.int_equity_stretches ORDER BY 1")
    assert [row["day"].day for row in days] == [1, 2, 3, 5]

    with engine(database_url).begin() as connection:
        connection.execute(text("ALTER TABLE intermediate.int_equity_curve DROP CONSTRAINT not_this_day"))
    assert event_times(database_url)[1::2] == ["2026-03-04", "2026-03-06"]
    assert rebuild_redefined(dbt_home, database_url) == []
    build(dbt_home, database_url)
    assert results(dbt_home) == {"model": {"success"}, "test": {"pass"}}
    assert_marts(database_url, history)
    assert_both_definitions_agree(database_url)


CANDLE = """
    INSERT INTO market_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume, source)
    VALUES ('okx', 'BTC-USDT', '1m', '2026-01-01 00:01Z', 1, 1, 1, 1, 1, 'trades')
"""
OLDER = """
    DROP VIEW staging.stg_bots CASCADE;
    CREATE VIEW staging.stg_bots AS SELECT 'alpha' AS bot_id;
    CREATE TABLE marts.bot_equity_curve AS SELECT 1 AS bot_id, 2 AS value;
    ALTER TABLE intermediate.int_equity_curve DROP COLUMN exposure, ALTER COLUMN drawdown TYPE text;
    UPDATE intermediate.int_equity_curve SET peak_value = peak_value * 2;
    UPDATE intermediate.int_equity_stretches SET max_drawdown = max_drawdown * 100;
    UPDATE intermediate.int_candle_days SET candles = 7;
    UPDATE model_builds SET fingerprint = 'older'
    WHERE relation IN ('intermediate.int_equity_curve', 'intermediate.int_equity_stretches')
"""


def test_models_of_an_older_project_are_built_anew(database_url: str, dbt_home: Path):
    """Tables with columns, types and rows of another definition, one of them a view now, and a view with
    other columns: the next build makes all days by the present definition, leaves the model that did not
    change alone, and notes what it did; views are there again before the models below them are built. A view
    that is made again stays there meanwhile, with all that reads it."""
    history = bot_history.invent(seed=13)
    with engine(database_url).begin() as connection:
        bot_history.store_bots(connection, history)
        bot_history.store(connection, history, bot_history.START, bot_history.START + timedelta(days=9))
        connection.execute(text(CANDLE))
    build(dbt_home, database_url)
    with engine(database_url).begin() as connection:
        connection.execute(text(OLDER))
    assert rebuild_redefined(dbt_home, database_url) == ["int_equity_curve", "int_equity_stretches"]
    assert read(database_url, "SELECT candles FROM intermediate.int_candle_days") == [{"candles": 7}]
    for view in ("marts.bot_equity_curve", "intermediate.int_daily_equity"):
        assert read(database_url, f"SELECT count(*) > 10 AS whole FROM {view}") == [{"whole": True}]
    build(dbt_home, database_url)
    assert_marts(database_url, history)
    rows = "SELECT count(*) AS rows FROM marts.bot_equity_curve"
    curve = read(database_url, rows)
    run_dbt(["run", "--quiet", "--select", "stg_bots"], dbt_home, database_url)
    assert read(database_url, rows) == curve


THINNED = """
    DELETE FROM bot_performance WHERE timestamp <= '2026-03-03' AND extract(minute FROM timestamp) > 0;
    UPDATE intermediate.int_equity_curve SET peak_value = peak_value * 2 WHERE day > '2026-03-02';
    UPDATE intermediate.int_equity_stretches SET max_drawdown = max_drawdown * 100 WHERE day > '2026-03-02';
    UPDATE model_builds SET fingerprint = 'older' WHERE relation LIKE 'intermediate.int_equity_%'
"""


MADE = """
    SELECT (SELECT (count(*), sum(peak_value), sum(drawdown)::numeric(20, 9))::text
            FROM intermediate.int_equity_curve) AS curve,
           (SELECT (count(*), sum(max_drawdown)::numeric(20, 9))::text
            FROM intermediate.int_equity_stretches) AS stretches
"""


def test_an_upgrade_keeps_what_retention_left_in_the_models_alone(database_url: str, dbt_home: Path):
    """Days whose snapshots were thinned keep their rows when the models of an older project are built anew,
    and those since then are made again: all is as it was. Of what is left there would be less. No snapshot
    can be there twice."""
    history = bot_history.invent(seed=5)
    with engine(database_url).begin() as connection:
        bot_history.store_bots(connection, history)
        bot_history.store(connection, history, bot_history.START, bot_history.START + timedelta(days=9))
    assert rebuild_redefined(dbt_home, database_url) == []
    chosen = ["--select", "+int_equity_stretches", *event_times(database_url)]
    run_dbt(["run", "--quiet", *chosen], dbt_home, database_url)
    (before,) = read(database_url, MADE)
    with engine(database_url).begin() as connection:
        connection.execute(text(THINNED))
    assert read(database_url, MADE) != [before]
    rebuild_redefined(dbt_home, database_url)
    assert read(database_url, MADE) == [before]
    left = "SELECT count(*) < (SELECT count(*) FROM intermediate.int_equity_curve) AS fewer"
    assert read(database_url, f"{left} FROM bot_performance") == [{"fewer": True}]
    curve = "intermediate.int_equity_curve"
    with pytest.raises(IntegrityError), engine(database_url).begin() as connection:
        connection.execute(text(f"INSERT INTO {curve} SELECT * FROM {curve} LIMIT 1"))


def test_a_definition_is_known_by_all_that_makes_its_rows(parsed_home: Path):
    """SQL of its own or above it, macros and types change it; descriptions and other models do not."""
    manifest = json.loads((parsed_home / "dbt" / "manifest.json").read_text(encoding="utf-8"))
    before = fingerprints(manifest)
    curve, stretches = "intermediate.int_equity_curve", "intermediate.int_equity_stretches"

    def changed(section: str, name: str, **values: Any) -> set[str]:
        other = {**manifest, section: {**manifest[section], name: {**manifest[section][name], **values}}}
        return {relation for relation, found in fingerprints(other).items() if found != before[relation]}

    assert changed("nodes", "model.tcp.int_equity_stretches", raw_code="select 1") == {stretches}
    assert changed("nodes", "model.tcp.stg_bots", raw_code="select 1") == {curve, stretches}
    assert changed("nodes", "model.tcp.stg_bots", description="other") == set()
    assert changed("macros", "macro.tcp.in_batch", macro_sql="other") == {
        curve,
        stretches,
        "marts.bot_signals_daily",
    }


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

    rows = read(database_url, "SELECT * FROM marts.portfolio_daily")
    expected_portfolio = bot_history.portfolio(history)
    assert [row["day"] for row in rows] == list(expected_portfolio)
    for row in rows:
        assert_equal(row, expected_portfolio[row["day"]])


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
    ("portfolio on 2026-03-02", "fees"): "portfolio_daily SET fees = fees + 1 WHERE day = '2026-03-02'",
    ("portfolio on 2026-03-02", "growth"): "portfolio_daily SET growth = 1 WHERE day = '2026-03-02'",
    ("portfolio on 2026-03-03", "drawdown"): "portfolio_daily SET drawdown = 0.9 WHERE day = '2026-03-03'",
    ("standing of alpha", "place"): "bot_leaderboard SET place = 7 WHERE bot_name = 'alpha'",
    ("strategy invented", "win_rate"): "strategy_leaderboard SET win_rate = 0 "
    "WHERE strategy_name = 'invented'",
    ("strategy other", "median_backtest_sharpe"): "strategy_leaderboard SET median_backtest_sharpe = 0 "
    "WHERE strategy_name = 'other'",
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
    assert (compared.bots, compared.runs, compared.differences) == (3, 10, [])
    assert compared.metrics > 200
    thinned_until = bot_history.START + timedelta(days=3)
    with engine(database_url).begin() as connection:
        connection.execute(text("CREATE TABLE whole AS SELECT * FROM bot_performance"))
        assert (
            sum(thin_snapshots(connection, bot, bot_history.START, thinned_until) for bot in (1, 2, 3)) > 300
        )
    thinned = compare_definitions(engine(database_url))
    assert (thinned.bots, thinned.differences) == (3, [])
    assert thinned.metrics < compared.metrics
    with engine(database_url).begin() as connection:
        connection.execute(text("TRUNCATE bot_performance"))
        connection.execute(text("INSERT INTO bot_performance SELECT * FROM whole"))
        for change in CHANGED.values():
            connection.execute(text(f"UPDATE marts.{change}"))
    differing = compare_definitions(engine(database_url)).differences
    assert {(found.of, found.metric) for found in differing} == CHANGED.keys()


def test_a_wrong_status_fails_the_build_by_name(database_url: str, dbt_home: Path):
    """A row that breaks a promise of the staging layer stops the build, and the test is named."""
    with engine(database_url).begin() as connection:
        connection.execute(
            text(
                "INSERT INTO bots (name, strategy_name, symbol, timeframe, status, config, virtual_balance, "
                "current_balance) VALUES ('odd', 's', 'BTC-USDT', '1m', 'asleep', '{}', 1, 1)"
            )
        )
    with pytest.raises(Unavailable, match="accepted_values_stg_bots_status"):
        run_dbt(["build", "--quiet", "--select", "stg_bots"], dbt_home, database_url)


def test_an_unreachable_database_is_one_clear_failure(dbt_home: Path, unused_port: int):
    """Without a server dbt fails as Unavailable, and the password is in neither message nor log."""
    url = f"postgresql+psycopg://tcp:open-sesame@127.0.0.1:{unused_port}/tcp"
    with pytest.raises(Unavailable, match="dbt debug failed") as failure:
        run_dbt(["debug", "--connection"], dbt_home, url)
    assert "open-sesame" not in str(failure.value)
    assert "open-sesame" not in (dbt_home / "dbt" / "logs" / "dbt.log").read_text(encoding="utf-8")


def test_the_docs_site_serves_lineage_from_one_page(database_url: str, dbt_home: Path):
    """The page holds every model, column text and exposure; a taken port is named."""
    page = build_site(dbt_home, database_url)
    with make_server(page.parent, 0) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=30) as response:
            html = response.read().decode()
        with pytest.raises(BadInput, match=f"port {server.server_port}"):
            make_server(page.parent, server.server_port)
        server.shutdown()
    for words in ("model.tcp.bot_daily_pnl", "Closing minus opening value", "exposure.tcp.portfolio_page"):
        assert words in html
    assert '"send_anonymous_usage_stats": true' not in html


def test_every_column_of_every_model_is_described(parsed_home: Path):
    """No model, source, exposure or column without a description; every unit test is a sentence; what a row
    of an intermediate model is, is tested, and of a mart a key."""
    manifest = json.loads((parsed_home / "dbt" / "manifest.json").read_text(encoding="utf-8"))
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    silent = [
        f"{node['name']}.{column['name']}"
        for node in models
        for column in node["columns"].values()
        if not column["description"]
    ]
    described = [*models, *manifest["sources"].values(), *manifest["exposures"].values()]
    assert silent == []
    assert [node["name"] for node in described if not node["description"]] == []
    of_tables = {
        source["name"]: {name for name, column in source["columns"].items() if column["description"]}
        for source in manifest["sources"].values()
    }
    assert of_tables == {name: set(metadata.tables[name].columns.keys()) for name in of_tables}
    assert [
        test["name"] for test in manifest["unit_tests"].values() if len(test["description"] or "") < 40
    ] == []
    unique = {
        test["attached_node"].rpartition(".")[2]
        for test in manifest["nodes"].values()
        if test["resource_type"] == "test" and test["test_metadata"]["name"].startswith("unique")
    }
    assert {node["name"] for node in models if node["schema"] == "intermediate"} <= unique
    tables = [
        node for node in models if node["schema"] == "marts" and node["config"]["materialized"] != "view"
    ]
    keyless = [node["name"] for node in tables if "primary_key" not in json.dumps(node)]
    assert keyless == []
    marts = [node for node in models if node["schema"] == "marts"]
    assert len(marts) >= 7
    assert all(node["config"]["contract"]["enforced"] for node in marts)
