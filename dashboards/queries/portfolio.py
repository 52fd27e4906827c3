"""All bots together, out of the dbt marts, which are not there before their first build. Amounts of different
quote currencies are never added up: rows say which is theirs."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

_PRESENT = sa.text("""
select count(*) = 4 and exists (
    select from pg_attribute where attrelid = to_regclass('marts.portfolio_daily') and attname = 'quote')
from unnest(array['portfolio_daily', 'bot_daily_pnl', 'bot_leaderboard', 'bot_equity_curve']) as wanted(name)
where to_regclass('marts.' || wanted.name) is not null
""")
_DAYS = sa.text("""
select day, quote, bots, closing_value, pnl, return_fraction, cumulative_pnl, growth, drawdown, fees,
       turnover, closed_trades
from marts.portfolio_daily
where day > (select max(day) from marts.portfolio_daily) - cast(:limit as integer)
order by day, quote
""")
_BEHIND = sa.text("""
select max(newest.timestamp)
       - coalesce((select max(snapshot_at) from marts.bot_leaderboard), min(oldest.timestamp))
from bots b cross join lateral (
    select timestamp from bot_performance where bot_id = b.id order by timestamp desc limit 1) newest
cross join lateral (
    select timestamp from bot_performance where bot_id = b.id order by timestamp limit 1) oldest
where b.deleted_at is null
""")
_BOTS = sa.text("""
select l.place, l.bot_name, l.strategy_name, l.symbol, split_part(l.symbol, '-', 2) as quote, l.timeframe,
       l.starting_value, l.current_value, l.pnl, l.total_return, l.drawdown, l.max_drawdown,
       l.closed_trades, l.win_rate, l.fees, l.snapshot_at, d.pnl as day_pnl
from marts.bot_leaderboard l
left join marts.bot_daily_pnl d
    on d.bot_id = l.bot_id and d.day = (select max(day) from marts.portfolio_daily)
order by l.place, l.bot_name
""")
# A bot without a snapshot yet counts with its starting cash: cash that joins later would look like profit.
_CURVE = sa.text("""
with bounds as (
    select min(snapshot_at) as first, max(snapshot_at) as last from marts.bot_equity_curve
),
steps as (
    select generate_series(first, last, greatest((last - first) / :points, interval '1 minute')) as at
    from bounds where first is not null
    union
    select last from bounds where last is not null
)
select steps.at, split_part(l.symbol, '-', 2) as quote,
       sum(coalesce(newest.total_value, l.starting_value)) as equity,
       sum(coalesce(newest.cash_value, l.starting_value)) as cash
from steps cross join marts.bot_leaderboard l
left join lateral (
    select total_value, cash_value from marts.bot_equity_curve c
    where c.bot_id = l.bot_id and c.snapshot_at <= steps.at
    order by c.snapshot_at desc limit 1) newest on true
group by steps.at, quote order by steps.at, quote
""")
# The same out of the bots' own snapshots: bounded in time, each step a probe of (bot, time). Deleted bots
# count at no time, as in the marts: leaving at their deletion they would look like a loss of all they had.
_LIVE_CURVE = sa.text("""
with kept as (
    select id, symbol, virtual_balance from bots where deleted_at is null
),
first as (
    select min(own.timestamp) as at from kept b cross join lateral (
        select timestamp from bot_performance where bot_id = b.id order by timestamp limit 1) own
),
bounds as (select greatest(at, cast(:now as timestamptz) - interval '1 day') as first from first),
steps as (
    select generate_series(first, :now, greatest((:now - first) / :points, interval '1 minute')) as at
    from bounds where first is not null
)
select steps.at, split_part(b.symbol, '-', 2) as quote,
       sum(coalesce(newest.total_value, b.virtual_balance)) as equity,
       sum(coalesce(newest.cash_balance, b.virtual_balance)) as cash
from steps cross join kept b
left join lateral (
    select total_value, cash_balance from bot_performance p
    where p.bot_id = b.id and p.timestamp <= steps.at
    order by p.timestamp desc limit 1) newest on true
group by steps.at, quote order by steps.at, quote
""")


def built(engine: Engine) -> bool:
    """Whether the four marts that this page reads exist, as they are defined now."""
    with engine.connect() as connection:
        return bool(connection.execute(_PRESENT).scalar())


def behind(engine: Engine) -> timedelta:
    """How much newer the bots' newest snapshot is than the newest one that the marts were made of (exchange
    time), or than the bots' oldest one where the marts were made of none: nothing while no bot judges
    anything, however long ago the marts were made."""
    with engine.connect() as connection:
        late = connection.execute(_BEHIND).scalar()
    return timedelta(0) if late is None else late


def days(engine: Engine, limit: int = 400) -> list[dict[str, Any]]:
    """One row a UTC day and quote currency, oldest first; the newest `limit` days. Ratios as fractions."""
    with engine.connect() as connection:
        rows = connection.execute(_DAYS, {"limit": limit})
        return [dict(row) for row in rows.mappings()]


def bots(engine: Engine) -> list[dict[str, Any]]:
    """One row a bot by rank, with its profit of the newest day (`day_pnl`, None without one)."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(_BOTS).mappings()]


def live_curve(engine: Engine, now: datetime, points: int = 200) -> list[dict[str, Any]]:
    """As `curve`, of the last day before `now` (exchange time), straight from the bots' snapshots: for
    currencies that the marts do not have yet."""
    with engine.connect() as connection:
        rows = connection.execute(_LIVE_CURVE, {"now": now, "points": points})
        return [dict(row) for row in rows.mappings()]


def curve(engine: Engine, points: int = 600) -> list[dict[str, Any]]:
    """Sum of each quote currency's bots over time, oldest first: `at`, `quote`, `equity`, `cash`,
    in about `points` steps."""
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(_CURVE, {"points": points}).mappings()]
