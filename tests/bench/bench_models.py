"""The dbt models on a year of data: a full build, and the build after one new day.

Three symbols with candles of every timeframe, five bots that judge each minute and trade 20 times a day: 2.0
million candles, 2.6 million snapshots and as many signals. DAYS=… for another length. Seconds on the clock,
and of work, of dbt and of PostgreSQL: beside a busy neighbour only those tell. On a year a new day must
cost less than a tenth of the work of a full build, its tests included; dbt's start and 33 models cost the
same whatever the history, so that no shorter one is judged.
"""

import os
import resource
import time
from pathlib import Path
from string import Template
from typing import NamedTuple

import psutil
import pytest
from sqlalchemy import Engine, text

from orchestration.dbt_command import run_dbt
from orchestration.dbt_window import event_times
from pipelines.warehouse.database import engine
from tests.bench.figures import Tell

pytestmark = [pytest.mark.servers, pytest.mark.timeout(3600)]

YEAR = 365
DAYS = int(os.environ.get("DAYS", str(YEAR)))
TARGET = 0.1
START = "timestamptz '2025-09-01 00:00:00+00'"
LENGTHS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}
BOTS = """
    INSERT INTO bots (name, strategy_name, symbol, timeframe, status, config, virtual_balance,
                      current_balance)
    SELECT 'bot_' || n, 'ema_crossover', 'BTC-USDT', '1m', 'active', '{"parameters": {}}', 10000, 10000
    FROM generate_series(1, 5) AS n
"""
CANDLES = """
    INSERT INTO market_data (exchange, symbol, timeframe, timestamp, open, high, low, close, volume,
                             trades_count, source, created_at)
    SELECT 'okx', symbol, '$timeframe', $start + n * make_interval(mins => $minutes), 60000 + n % 977,
           61000, 59000, 60000 + n % 967, n % 13, n % 89, 'trades',
           $start + n * make_interval(mins => $minutes)
    FROM unnest(ARRAY['BTC-USDT', 'ETH-USDT', 'SOL-USDT']) AS symbol,
         generate_series($first * 1440 / $minutes + 1, $last * 1440 / $minutes) AS n
"""
HEARTBEAT = """
    INSERT INTO heartbeats (component, timestamp, exchange_time, details)
    VALUES ('live', now(), $start + $last * interval '1 day', '{}')
    ON CONFLICT (component) DO UPDATE SET exchange_time = excluded.exchange_time
"""
OF_BOTS = (
    """
    INSERT INTO signals (id, bot_id, timestamp, signal_type, price, confidence, indicators, latency_ms)
    SELECT id || '-' || n, id, $start + n * interval '1 minute',
           CASE n % 144 WHEN 0 THEN 'buy' WHEN 72 THEN 'sell' ELSE 'hold' END, 60000, 0.5, '{}', n % 50
    FROM bots, generate_series($first * 1440 + 1, $last * 1440) AS n
    """,
    """
    INSERT INTO bot_performance (bot_id, timestamp, total_value, cash_balance, crypto_balance,
                                 total_trades, winning_trades, total_fees)
    SELECT id, $start + n * interval '1 minute', 10000 + n / 1440 + 200 * sin(n / 700.0 + id),
           5000, 5000, n / 144, n / 288, n / 100.0
    FROM bots, generate_series($first * 1440 + 1, $last * 1440) AS n
    """,
    "ALTER TABLE trades DISABLE TRIGGER USER",  # it keeps positions, which are not needed here
    """
    INSERT INTO trades (id, bot_id, signal_id, timestamp, side, price, quantity, fees, pnl, balance_after)
    SELECT id || '-' || n, id, id || '-' || n, $start + n * interval '1 minute',
           CASE n % 144 WHEN 0 THEN 'buy' ELSE 'sell' END, 60000 + n % 7, 0.01, 0.6,
           CASE n % 144 WHEN 72 THEN n % 11 - 5 END, 10000
    FROM bots, generate_series($first * 1440 + 72, $last * 1440, 72) AS n
    """,
    "ALTER TABLE trades ENABLE TRIGGER USER",
)


def fill(own: Engine, first: int, last: int) -> None:
    """The days from number `first` up to `last`, that one left out."""
    statements = [Template(CANDLES).safe_substitute(timeframe=t, minutes=m) for t, m in LENGTHS.items()]
    for statement in (*statements, *OF_BOTS, HEARTBEAT):
        with own.begin() as connection:
            connection.execute(text(Template(statement).substitute(start=START, first=first, last=last)))
    with own.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


class Cost(NamedTuple):
    """Seconds on the clock, and of work: dbt's, PostgreSQL's."""

    wall: float
    dbt: float
    server: float

    def part_of(self, full: "Cost") -> float:
        """Of the work of the full build."""
        return (self.dbt + self.server) / (full.dbt + full.server)

    def line(self, what: str, full: "Cost") -> str:
        """With its part of the full build, by the clock and by the work."""
        parts = f"{self.wall / full.wall:>8.1%} {self.part_of(full):>8.1%}"
        return f"{what:<28} {self.wall:>7.1f} {self.dbt:>7.1f} {self.server:>7.1f} {parts}"


def spent(own: Engine) -> Cost:
    """Until now. A connection's process counts when it has ended, so dbt's do."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    with own.connect() as connection:
        backend = psutil.Process(connection.scalar(text("SELECT pg_backend_pid()")))
    server = backend.parent()
    assert server is not None
    times = server.cpu_times()
    work = times.children_user + times.children_system
    return Cost(time.perf_counter(), children.ru_utime + children.ru_stime, work)


def took(home: Path, own: Engine, database_url: str, command: str, full: bool = False) -> Cost:
    """A dbt command over all models (and their data tests)."""
    before = spent(own)
    arguments = ["--exclude-resource-type", "unit_test"] if command == "build" else []
    run_dbt([command, "--quiet", *arguments, *event_times(database_url, full)], home, database_url)
    return Cost(*(after - at for after, at in zip(spent(own), before, strict=True)))


def test_a_new_day_on_a_year(database_url: str, tmp_path: Path, tell: Tell) -> None:
    own = engine(database_url)
    with own.begin() as connection:
        connection.execute(text(BOTS))
    fill(own, 0, DAYS)
    run_dbt(["parse", "--quiet"], tmp_path, None)
    lines = [
        f"{DAYS} days, then one more",
        f"{'':<28} {'clock':>7} {'dbt':>7} {'server':>7} {'clock':>8} {'work':>8}",
    ]
    full = took(tmp_path, own, database_url, "run", full=True)
    lines.append(full.line("everything", full))
    parts = {}
    for day, command in enumerate(("run", "build")):
        fill(own, DAYS + day, DAYS + day + 1)
        cost = took(tmp_path, own, database_url, command)
        lines.append(cost.line(f"one new day, dbt {command}", full))
        parts[command] = cost.part_of(full)
    tell("\n".join(lines), "new-day")
    assert DAYS < YEAR or max(parts.values()) < TARGET, parts
