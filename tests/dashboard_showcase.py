"""What makes a seeded platform worth a picture: what the models would say of its bots, a real backtest, sweep
and walk-forward over its candles, an hour of connections, a crash. Goes over `dashboard_seed.seed`,
`fill_research` and the empty marts; nothing is invented that another page could contradict.
"""

import math
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from pipelines.backtest.request import BacktestRequest
from pipelines.backtest.run import execute
from pipelines.backtest.store import save_run
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.run import Sweep, run_sweep
from pipelines.validation.bot_numbers import filled
from pipelines.validation.group_numbers import Account, bot_days, last_day, portfolio_days
from pipelines.walk_forward.run import execute_walk_forward
from pipelines.walk_forward.windows import parse
from pipelines.warehouse import tables
from pipelines.warehouse.quality import QualityRow, record_quality
from tests.research_seed import BACKTEST, SWEEP, WALK

MINUTE_MS = 60_000
MARKET = {"strategy": "ema_crossover", "symbol": "BTC-USDT", "timeframe": "15m"}
ASKED = MARKET | {"parameters": {"fast_period": 12, "slow_period": 26}}
GRID = {"fast_period": list(range(4, 25, 2)), "slow_period": list(range(20, 81, 5))}
STACK = """Traceback (most recent call last):
  File "live/bots/process.py", line 118, in judge
    signal = strategy.judge(candles)
  File "strategies/rsi_reversion.py", line 41, in judge
    return self.oversold / self.spread
ZeroDivisionError: division by zero
"""
DAY = "(timestamp at time zone 'UTC' - interval '1 microsecond')::date"
_CLOSINGS = f"""
    select distinct on (bot_id, {DAY}) bot_id, {DAY} as day, total_value
    from bot_performance order by bot_id, {DAY}, timestamp desc
"""
_FILLS = f"select bot_id, {DAY} as day, pnl, fees, price * quantity as value from trades"
_BOTS = """
    insert into marts.bot_leaderboard
    select rank() over (order by newest.total_value / b.virtual_balance desc), b.id, b.name, b.strategy_name,
           b.symbol, b.timeframe, b.virtual_balance, newest.total_value,
           newest.total_value - b.virtual_balance, newest.total_value / b.virtual_balance - 1, newest.depth,
           deepest.depth, p.total_trades, p.winning_trades::float8 / nullif(p.total_trades, 0), p.fees,
           newest.timestamp
    from bots b
    join positions p on p.bot_id = b.id
    cross join lateral (select max(depth) as depth from depths where bot_id = b.id) deepest
    cross join lateral (
        select * from depths where bot_id = b.id order by timestamp desc limit 1) newest
"""
_DEPTHS = """
    create temporary table depths on commit drop as
    select s.bot_id, timestamp, total_value, 1 - total_value / greatest(b.virtual_balance,
           max(total_value) over (partition by s.bot_id order by timestamp)) as depth
    from bot_performance s join bots b on b.id = s.bot_id
"""
_CURVE = """
    insert into marts.bot_equity_curve
    select bot_id, timestamp, total_value, cash_balance from bot_performance
"""
_DAY_OF_ALL = """
    insert into marts.portfolio_daily values ('USDT', :day, :bots, :closing_value, :pnl, :return_fraction,
        :cumulative_pnl, :growth, :drawdown, :fees, :turnover, :closed_trades)
"""
_DAY_OF_ONE = "insert into marts.bot_daily_pnl values (:bot_id, :day, :pnl)"


def fill_showcase(engine: Engine, database_url: str, now_ms: int, days: int) -> None:
    """Write all of it, as of exchange and wall time `now_ms`. days: of candles, at least five."""
    with engine.begin() as connection:
        _fill_marts(connection)
        invented = tables.strategy_runs.c.id.in_((BACKTEST, SWEEP, WALK))
        connection.execute(sa.delete(tables.strategy_runs).where(invented))
        broken = sa.select(tables.bots.c.id).where(tables.bots.c.name == "bot_002")
        crash = {
            "bot_id": connection.execute(broken).scalar_one(),
            "timestamp": datetime.fromtimestamp(now_ms / 1000, UTC) - timedelta(minutes=41),
            "exit_code": 1,
            "reason": "ZeroDivisionError: division by zero",
            "stack_trace": STACK,
        }
        connection.execute(sa.insert(tables.bot_crashes).values(crash))
    _research(database_url, days)
    for minute in range(1, 61):
        wave = 6 * math.sin(minute / 5)
        rows = [
            QualityRow(name, "wss://exchange", 36 + wave, 90 + 3 * wave, 900, 700, 0, 0, 0, 0, 0, 4)
            for name in ("trades 1", "trades 2")
        ]
        record_quality(engine, now_ms - now_ms % MINUTE_MS - minute * MINUTE_MS, rows)


def _research(database_url: str, days: int) -> None:
    """A sweep, a walk-forward and, of what a bot does, a validated backtest."""
    request = SweepRequest.read(MARKET | {"grid": GRID})
    run_sweep(Sweep(request, database_url, sweep_id=SWEEP))
    windows = f"rolling:train={max(3, days // 3)}d,test={max(1, days // 7)}d"
    execute_walk_forward(request, parse(windows), database_url)
    result = execute(BacktestRequest.read(ASKED), database_url, validate=True, save=False)
    save_run(database_url, replace(result, id=BACKTEST))


def _fill_marts(connection: Connection) -> None:
    """What dbt would make of snapshots and fills, by the definition that its models are checked against."""
    accounts = _accounts(connection)
    last = last_day(accounts.values())
    own = [
        {"bot_id": bot_id, "day": day, "pnl": row["pnl"]}
        for bot_id, account in accounts.items()
        for day, row in bot_days(account, last).items()
    ]
    together = [{"day": day, **row} for day, row in portfolio_days(accounts.values(), last).items()]
    connection.execute(sa.text(_DAY_OF_ONE), own)
    connection.execute(sa.text(_DAY_OF_ALL), together)
    for statement in (_DEPTHS, _BOTS, _CURVE):
        connection.execute(sa.text(statement))


def _accounts(connection: Connection) -> dict[int, Account]:
    closings: dict[int, dict[date, Any]] = defaultdict(dict)
    for row in connection.execute(sa.text(_CLOSINGS)):
        closings[row.bot_id][row.day] = row.total_value
    fills: dict[int, dict[date, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in connection.execute(sa.text(_FILLS)).mappings():
        fills[row["bot_id"]][row["day"]].append(row)
    cash = connection.execute(sa.select(tables.bots.c.id, tables.bots.c.virtual_balance))
    return {
        bot_id: Account(start, closings[bot_id], {day: filled(rows) for day, rows in fills[bot_id].items()})
        for bot_id, start in cash
    }
