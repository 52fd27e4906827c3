"""The dbt marts that the portfolio page reads, as tables with a few rows: what their contracts promise."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy import Engine

MORNING = datetime(2026, 3, 2, 8, tzinfo=UTC)

_TABLES = """
create schema if not exists marts;
create table marts.portfolio_daily (quote text, day date, bots integer, closing_value numeric, pnl numeric,
    return_fraction float8, cumulative_pnl numeric, growth float8, drawdown float8, fees numeric,
    turnover numeric, closed_trades integer, primary key (quote, day));
create table marts.bot_daily_pnl (bot_id integer, day date, pnl numeric);
create table marts.bot_leaderboard (place integer, bot_id integer, bot_name text, strategy_name text,
    symbol text, timeframe text, starting_value numeric, current_value numeric, pnl numeric,
    total_return float8, drawdown float8, max_drawdown float8, closed_trades integer, win_rate float8,
    fees numeric, snapshot_at timestamptz);
create table marts.bot_equity_curve (bot_id integer, snapshot_at timestamptz, total_value numeric,
    cash_value numeric);
create index on marts.bot_equity_curve (bot_id, snapshot_at);
"""
IN_BITCOIN = """
insert into marts.portfolio_daily values
    ('BTC', '2026-03-02', 1, 1.000123, 0.000123, 0.000123, 0.000123, 1.000123, 0, 0.000001, 0.5, 0);
insert into marts.bot_leaderboard values
    (3, 3, 'gamma', 'ema_crossover', 'ETH-BTC', '1m', 1, 1.000123, 0.000123, 0.000123, 0, 0, 0, null, 0.1,
     null);
insert into marts.bot_equity_curve values (3, '2026-03-02 08:05+00', 1.000123, 0.5)
"""
"""A bot of another currency."""
_ROWS = """
insert into marts.portfolio_daily values
    ('USDT', '2026-03-01', 1, 1100, 100, 0.1, 100, 1.1, 0, 1, 900, 1),
    ('USDT', '2026-03-02', 2, 1650, 50, 0.03, 150, 1.13, 0, 2, 500, 1);
insert into marts.bot_daily_pnl values (1, '2026-03-01', 100), (1, '2026-03-02', 100);
insert into marts.bot_leaderboard values
    (1, 1, 'alpha', 'ema_crossover', 'BTC-USDT', '1m', 1000, 1200, 200, 0.2, 0, 0.05, 2, 0.5, 3, null),
    (2, 2, 'beta', 'buy_and_hold', 'ETH-USDT', '1m', 500, 450, -50, -0.1, 0.1, 0.1, 0, null, 0, null);
insert into marts.bot_equity_curve values
    (1, '2026-03-02 08:00+00', 1100, 100), (1, '2026-03-02 08:10+00', 1200, 200),
    (2, '2026-03-02 08:05+00', 450, 450);
"""


def fill_marts(engine: Engine, rows: bool = True) -> None:
    """Make the tables, with or without rows."""
    with engine.begin() as connection:
        connection.execute(sa.text(_TABLES))
        if rows:
            connection.execute(sa.text(_ROWS))
