"""Models that an upgrade defines otherwise are built anew, and lose nothing that only they still have."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from orchestration.dbt_command import run_dbt
from orchestration.dbt_definitions import fingerprints, rebuild_redefined
from orchestration.dbt_window import event_times
from pipelines.warehouse.database import engine
from tests.graph import bot_history
from tests.graph.dbt_build import (
    assert_marts,
    build,
    read,
)

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

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
