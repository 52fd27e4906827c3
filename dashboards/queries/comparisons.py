"""What can be laid side by side: stored runs, and bots by the snapshots of their value."""

from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Engine

from core.timeframes import Timeframe
from pipelines.warehouse.sql import EXCHANGE, to_datetime, to_ms
from pipelines.warehouse.tables import backtest_equity, bot_performance, bots, strategy_runs

POINTS = 2_500
"""Steps of a bot's curve at most: more than a screen has pixels."""
_CURVE: dict[str, Any] = {"timestamp": pl.Datetime("us", "UTC"), "equity": pl.Float64, "close": pl.Float64}
_BOT_CURVE = sa.text("""
with kept as (
    (select timestamp, total_value from bot_performance
     where bot_id = :bot_id and timestamp between :since and :until order by timestamp limit 1)
    union
    select own.timestamp, own.total_value
    from generate_series(cast(:first as timestamptz), :last, make_interval(secs => :seconds)) as label
    cross join lateral (
        select timestamp, total_value from bot_performance
        where bot_id = :bot_id and timestamp > label - make_interval(secs => :seconds)
          and timestamp <= label and timestamp between :since and :until
        order by timestamp desc limit 1) as own
)
select timestamp, total_value::float8,
       (select close::float8 from market_data as m
        where m.exchange = :exchange and m.symbol = :symbol and m.timeframe = :timeframe
          and m.timestamp = kept.timestamp)
from kept order by timestamp
""")


def candidates(engine: Engine, limit: int = 100) -> list[dict[str, Any]]:
    """The newest backtests and walk-forwards that are done, newest first."""
    run = strategy_runs.c
    query = (
        sa.select(run.id, run.kind, run.strategy_name, run.symbol, run.timeframe, run.created_at, run.metrics)
        .where(run.kind.in_(("backtest", "walk_forward")), run.status == "done")
        .order_by(run.created_at.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def run_curve(engine: Engine, run_id: str) -> pl.DataFrame:
    """timestamp, equity and close of a stored run (long curves are thinned when they are stored)."""
    curve = backtest_equity.c
    query = sa.select(curve.timestamp, curve.equity, curve.close).where(curve.run_id == run_id)
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(query.order_by(curve.timestamp))]
    frame = pl.DataFrame(rows, schema=_CURVE, orient="row")
    return frame.drop("close") if frame["close"].null_count() else frame


def bot_life(engine: Engine, bot_id: int) -> tuple[datetime, datetime] | None:
    """Times of a bot's first and last snapshot; None without any. Two probes of an index."""
    at, of_bot = bot_performance.c.timestamp, bot_performance.c.bot_id == bot_id
    ends = [
        sa.select(at).where(of_bot).order_by(order).limit(1).scalar_subquery() for order in (at, at.desc())
    ]
    with engine.connect() as connection:
        row = connection.execute(sa.select(*ends)).one()
    return None if row[0] is None else (row[0], row[1])


def step_of(frame: Timeframe, since: datetime, until: datetime) -> Timeframe:
    """The shortest step, from `frame` on, of which at most `POINTS` lie between two times; a day at most."""
    span_ms = to_ms(until) - to_ms(since)
    longer = (step for step in Timeframe if step.ms >= frame.ms)
    return next((step for step in longer if span_ms / step.ms <= POINTS), Timeframe.D1)


def bot_curve(
    engine: Engine, bot: dict[str, Any], since: datetime, until: datetime, step: Timeframe
) -> pl.DataFrame:
    """timestamp, equity and, where each has its candle, close at a bot's snapshots from `since` to `until`:
    the first of them, and the last of each step (UTC; what closes on the boundary belongs to the step
    before). Each is found by index: it takes as long as there are steps, however many snapshots there are.

    bot: a row of queries.bots.bot
    """
    asked = {
        "bot_id": bot["id"],
        "since": since,
        "until": until,
        "first": to_datetime(step.close_ms(to_ms(since) - 1)),
        "last": to_datetime(step.close_ms(to_ms(until) - 1)),
        "seconds": step.ms // 1000,
        "exchange": EXCHANGE,
        "symbol": bot["symbol"],
        "timeframe": bot["timeframe"],
    }
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(_BOT_CURVE, asked)]
    frame = pl.DataFrame(rows, schema=_CURVE, orient="row")
    return frame.drop("close") if frame["close"].null_count() else frame


def bot_names(engine: Engine) -> list[dict[str, Any]]:
    """All bots by name, with what they trade, but for deleted ones."""
    named = sa.select(bots.c.name, bots.c.strategy_name, bots.c.symbol, bots.c.timeframe)
    query = named.where(bots.c.deleted_at.is_(None)).order_by(bots.c.name)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def closed_trips(engine: Engine, bot_id: int, since: datetime, until: datetime) -> dict[str, Any]:
    """Of a bot from `since` to `until`: `trades` (sells), `wins` among them, `gains`, `losses` and `fees` of
    all fills (quote currency)."""
    return _trips(
        engine,
        """
        select count(*) filter (where side = 'sell') as trades, count(*) filter (where pnl > 0) as wins,
               coalesce(sum(pnl) filter (where pnl > 0), 0)::float8 as gains,
               coalesce(sum(pnl) filter (where pnl < 0), 0)::float8 as losses,
               coalesce(sum(fees), 0)::float8 as fees
        from trades where bot_id = :of and timestamp between :since and :until""",
        {"of": bot_id, "since": since, "until": until},
    )


def run_trips(engine: Engine, run_id: str, since: datetime, until: datetime) -> dict[str, Any]:
    """As `closed_trips`, of a stored run: round trips that ended then, `fees` theirs; of one that was still
    open at the run's end the fees alone."""
    return _trips(
        engine,
        """
        select count(pnl) as trades, count(*) filter (where pnl > 0) as wins,
               coalesce(sum(pnl) filter (where pnl > 0), 0) as gains,
               coalesce(sum(pnl) filter (where pnl < 0), 0) as losses, coalesce(sum(fees), 0) as fees
        from (select fees, case when exit_reason is distinct from 'end' then pnl end as pnl
              from backtest_trades where run_id = :of and exit_time between :since and :until) as ended""",
        {"of": run_id, "since": since, "until": until},
    )


def _trips(engine: Engine, query: str, given: dict[str, Any]) -> dict[str, Any]:
    with engine.connect() as connection:
        return dict(connection.execute(sa.text(query), given).mappings().one())
