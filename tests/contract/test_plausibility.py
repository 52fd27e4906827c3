"""Stored candles against what else is known: outages of the feed, their own trades, the length of a day."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from core.candles import Candle
from core.timeframes import Timeframe
from core.trades import Side, Trade
from pipelines.warehouse.candles import upsert_candles
from pipelines.warehouse.database import engine
from pipelines.warehouse.finished_runs import finished_since
from pipelines.warehouse.plausibility import contradictions, rows_by_day, unexplained_synthetic_runs
from pipelines.warehouse.trades import copy_trades

pytestmark = pytest.mark.servers

MINUTE_MS = 60_000
START_MS = 1_780_272_000_000
"""00:00 UTC, 1 June 2026."""
END_MS = START_MS + 86_400_000


@pytest.fixture
def warehouse(database_url: str) -> Engine:
    """A day of 1m candles with trades in each but for two hours from 03:00."""
    own = engine(database_url)
    candles = [
        Candle(
            "BTC-USDT",
            Timeframe.M1,
            START_MS + (minute + 1) * MINUTE_MS,
            *([Decimal(100)] * 4),
            Decimal(0) if 180 <= minute < 300 else Decimal(2),
            0 if 180 <= minute < 300 else 2,
            source="synthetic" if 180 <= minute < 300 else "trades",
        )
        for minute in range(1440)
    ]
    with own.begin() as connection:
        upsert_candles(connection, candles)
    return own


def connected(own: Engine, silences: int) -> None:
    """A connection through the whole day, silent so many times in the minute of 04:00."""
    with own.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO connection_quality (minute, connection, url, messages, trades, repeated, lost_ids,
                                                unknown_frames, reconnects, silences)
                SELECT to_timestamp(:start) + n * interval '1 minute', 'trades 1', 'ws://x', 1, 1, 0, 0, 0, 0,
                       CASE n WHEN 240 THEN :silences ELSE 0 END
                FROM generate_series(0, 1439) AS n
            """),
            {"start": START_MS / 1000, "silences": silences},
        )


def test_two_hours_without_a_trade_are_told_where_the_feed_was_up(warehouse: Engine):
    """The run is found with its length and ends, and only when it is long enough."""
    connected(warehouse, silences=0)
    (run,) = unexplained_synthetic_runs(warehouse, "BTC-USDT", START_MS, END_MS)
    assert (run.minutes, run.first) == (120, datetime(2026, 6, 1, 3, tzinfo=UTC))
    assert unexplained_synthetic_runs(warehouse, "BTC-USDT", START_MS, END_MS, minutes=121) == []


def test_an_outage_explains_a_run(warehouse: Engine):
    """A silent connection in the middle of it, or candles that nobody collected, are no finding."""
    assert unexplained_synthetic_runs(warehouse, "BTC-USDT", START_MS, END_MS) == []
    connected(warehouse, silences=1)
    assert unexplained_synthetic_runs(warehouse, "BTC-USDT", START_MS, END_MS) == []


def test_a_candle_that_its_trades_contradict_is_found(warehouse: Engine):
    """Of minutes whose trades are all stored, the one with another volume is named. Not compared are the
    first and the last, whose trades may go on outside, and those next to a hole in the ids."""
    ids = [n for n in range(20) if n not in {10, 11}]  # the sixth minute lacks its two
    with warehouse.begin() as connection:
        copy_trades(
            connection,
            [
                Trade("BTC-USDT", 500 + n, START_MS + n * 30_000, Decimal(100), Decimal(1), Side.BUY)
                for n in ids
            ],
        )
    found = contradictions(warehouse, "BTC-USDT", START_MS, END_MS)
    assert (found.compared, found.contradicted, found.first_at) == (5, 0, None)
    with warehouse.begin() as connection:
        connection.execute(
            text("UPDATE market_data SET volume = 3 WHERE timestamp = :at"),
            {"at": datetime(2026, 6, 1, 0, 3, tzinfo=UTC)},
        )
    found = contradictions(warehouse, "BTC-USDT", START_MS, END_MS)
    assert (found.contradicted, found.first_at) == (1, datetime(2026, 6, 1, 0, 3, tzinfo=UTC))


def test_the_candle_of_midnight_counts_for_the_day_before(warehouse: Engine):
    """A day has 1,440 rows, the one labelled 00:00 of the next day among them."""
    assert rows_by_day(warehouse, "BTC-USDT", Timeframe.M1, START_MS, END_MS) == {date(2026, 6, 1): 1440}


def test_runs_are_told_in_the_order_in_which_they_ended(warehouse: Engine):
    """Only finished ones, and after a moment only those that ended later."""
    with warehouse.begin() as connection:
        connection.execute(
            text("""
                INSERT INTO strategy_runs (id, kind, strategy_name, symbol, timeframe, parameters, status,
                                           metrics, finished_at)
                VALUES ('b', 'backtest', 's', 'BTC-USDT', '1m', '{}', 'done', '{"sharpe": 1.5}',
                        '2026-06-02Z'),
                       ('a', 'sweep', 's', 'BTC-USDT', '1m', '{}', 'done', '{}', '2026-06-01Z'),
                       ('r', 'backtest', 's', 'BTC-USDT', '1m', '{}', 'running', NULL, NULL)
            """)
        )
    first, second = finished_since(warehouse, None)
    assert (first.id, first.sharpe, second.id, second.sharpe) == ("a", None, "b", 1.5)
    assert [run.id for run in finished_since(warehouse, first.finished_at)] == ["b"]
