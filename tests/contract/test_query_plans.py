"""Reads of large tables: what the server did for each, on tables made as large as a test can afford."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from core.timeframes import Timeframe
from dashboards.queries import system
from dashboards.queries.comparisons import bot_curve, bot_life, closed_trips, step_of
from pipelines.warehouse.database import engine
from tests.big_tables import BOTS, fill
from tests.plans import explained
from tests.warehouse_reads import BOT, LARGE_TABLES, reads

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

ROWS = 100_000
TRADES = ROWS // BOTS
SOME_YEAR = datetime(2025, 8, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)
SNAPSHOTS = 100 * 1440
LONG_LIFE = (
    """
    INSERT INTO bots (name, strategy_name, symbol, timeframe, status, config, virtual_balance,
                      current_balance)
    VALUES ('bot_001', 'ema_crossover', 'ETH-USDT', '1m', 'active', '{}', 10000, 10000)
    """,
    f"""
    INSERT INTO bot_performance (bot_id, timestamp, total_value, cash_balance, crypto_balance, total_trades,
                                 winning_trades, total_fees)
    SELECT 1, timestamptz '2025-09-01 00:00Z' + n * interval '1 minute', 10000 + n % 1009, 5000, 5000, 0, 0, 0
    FROM generate_series(1, {SNAPSHOTS}) AS n
    """,
)


def test_no_read_of_the_product_goes_through_a_large_table(database_url):
    own = engine(database_url)
    fill(own, ROWS)
    wrong = []
    for name, read in reads().items():
        with explained(own) as plans:
            read(own)
        assert plans, f"{name} sent no statement"
        wrong += [
            f"{name}: {plan.scans} in {plan.statement}"
            for plan in plans
            if any(table.startswith(LARGE_TABLES) for table in plan.scans)
        ]
    assert not wrong, "\n".join(wrong)
    with explained(own) as plans:
        assert system.trouble(own)["unfillable"] == ROWS // 1000
    assert plans[0].blocks < ROWS // 1000, "each hole is looked up to be counted"
    with explained(own) as plans:
        trips = closed_trips(own, BOT, *SOME_YEAR)
    assert (trips["trades"], trips["wins"], trips["gains"]) == (TRADES // 2, TRADES, TRADES)
    assert plans[0].blocks < TRADES // 20, "each trade is looked up to be summed"


def test_a_life_of_any_length_is_read_by_its_steps(database_url):
    """A hundred days of a bot of minutes are drawn whole, the first and last value kept, out of some rows a
    step: a life of years takes no longer."""
    own = engine(database_url)
    with own.begin() as connection:
        for statement in LONG_LIFE:
            connection.execute(text(statement))
    with own.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE bot_performance"))
    bot, life = {"id": 1, "symbol": "ETH-USDT", "timeframe": "1m"}, bot_life(own, 1)
    step = step_of(Timeframe.M1, *life)
    with explained(own) as plans:
        curve = bot_curve(own, bot, *life, step)
    assert (step, curve.height) == (Timeframe.H1, SNAPSHOTS / 60 + 1)
    assert (curve["timestamp"][0], curve["timestamp"][-1]) == life
    assert curve["equity"][1:].to_list() == [10_000 + n % 1009 for n in range(60, SNAPSHOTS + 1, 60)]
    assert plans[0].rows <= 2 * curve.height


def test_a_read_without_an_index_is_seen(database_url):
    """The test above can fail."""
    own = engine(database_url)
    fill(own, 5_000)
    with explained(own) as plans, own.connect() as connection:
        connection.execute(text("SELECT count(*) FROM market_data WHERE volume = 3"))
    assert plans[0].scans == ["market_data"]
