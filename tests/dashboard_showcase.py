"""What makes a seeded platform worth a picture: a real backtest, weeks of profit, an hour of connections, a
crash. Goes over `dashboard_seed.seed`, `fill_research` and the empty marts."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy import Engine

from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.backtest.store import save_run
from pipelines.warehouse import tables
from pipelines.warehouse.quality import QualityRow, record_quality
from tests.research_seed import BACKTEST

MINUTE_MS = 60_000
ASKED = {
    "strategy": "ema_crossover",
    "symbol": "BTC-USDT",
    "timeframe": "1m",
    "parameters": {"fast_period": 4, "slow_period": 12},
}
STACK = """Traceback (most recent call last):
  File "live/bots/process.py", line 118, in judge
    signal = strategy.judge(candles)
  File "strategies/rsi_reversion.py", line 41, in judge
    return self.oversold / self.spread
ZeroDivisionError: division by zero
"""
_DAYS = """
    with made as (
        select day::date as day, n, 120 * sin(n / 2.3) + 60 * sin(n * 1.7) + 25 as pnl
        from generate_series(0, 44) as n,
             lateral (select current_date - 44 + n as day) as d
    ), summed as (select *, sum(pnl) over (order by n) as total from made)
    insert into marts.portfolio_daily
    select day, 5, 50000 + total, pnl, pnl / 50000, total, 1 + total / 50000,
           1 - (50000 + total) / max(50000 + total) over (order by n), 14, 9000, 4
    from summed
"""
_BOTS = """
    insert into marts.bot_leaderboard
    select row_number() over (order by current_balance desc), id, name, strategy_name, symbol, timeframe,
           virtual_balance, current_balance, current_balance - virtual_balance,
           (current_balance / virtual_balance - 1)::float8, 0, 0.02 + id * 0.011, 12, 0.5, 30 + id * 7, now()
    from bots
"""
_REST = (
    "insert into marts.bot_equity_curve "
    "select bot_id, timestamp, total_value, cash_balance from bot_performance",
    "insert into marts.bot_daily_pnl select id, current_date, 40 - id * 15 from bots",
)


def fill_showcase(engine: Engine, database_url: str, now_ms: int) -> None:
    """Write all of it, as of exchange and wall time `now_ms`."""
    result = execute(BacktestRequest.read(ASKED), database_url, validate=True, trials=9, save=False)
    with engine.begin() as connection:
        connection.execute(sa.delete(tables.strategy_runs).where(tables.strategy_runs.c.id == BACKTEST))
        for statement in (_DAYS, _BOTS, *_REST):
            connection.execute(sa.text(statement))
        broken = sa.select(tables.bots.c.id).where(tables.bots.c.name == "bot_002")
        crash = {
            "bot_id": connection.execute(broken).scalar_one(),
            "timestamp": datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(minutes=41),
            "exit_code": 1,
            "reason": "ZeroDivisionError: division by zero",
            "stack_trace": STACK,
        }
        connection.execute(sa.insert(tables.bot_crashes).values(crash))
    save_run(database_url, replace(result, id=BACKTEST))
    for minute in range(1, 61):
        wave = 6 * math.sin(minute / 5)
        rows = [
            QualityRow(name, "wss://exchange", 36 + wave, 90 + 3 * wave, 900, 700, 0, 0, 0, 0, 0, 4)
            for name in ("trades 1", "trades 2")
        ]
        record_quality(engine, now_ms - now_ms % MINUTE_MS - minute * MINUTE_MS, rows)
