"""The dbt project: it builds from nothing, and from a filled warehouse its marts say what Python says."""

import json
import urllib.request
from datetime import timedelta
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import text

from core.errors import BadInput, Unavailable
from orchestration.dbt_command import run_dbt
from orchestration.dbt_definitions import rebuild_redefined
from orchestration.dbt_window import event_times
from orchestration.docs_site import build_site, make_server
from pipelines.warehouse.database import engine
from pipelines.warehouse.tables import metadata
from tests.graph import bot_history
from tests.graph.dbt_build import (
    RUNS,
    assert_both_definitions_agree,
    assert_marts,
    build,
    read,
    results,
)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

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
