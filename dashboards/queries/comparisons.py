"""What can be laid side by side: stored runs, and bots by the snapshots of their value."""

from datetime import datetime
from typing import Any

import polars as pl
import sqlalchemy as sa
from sqlalchemy import Engine

from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.tables import backtest_equity, bot_performance, bots, market_data, strategy_runs

POINTS = 5_000
_CURVE: dict[str, Any] = {"timestamp": pl.Datetime("us", "UTC"), "equity": pl.Float64, "close": pl.Float64}


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


def bot_curve(engine: Engine, bot: dict[str, Any]) -> pl.DataFrame:
    """timestamp, equity and, where each has its candle, close at the newest 5,000 snapshots of a bot.

    bot: a row of queries.bots.bot
    """
    value, candle = bot_performance.c, market_data.c
    newest = (
        sa.select(value.timestamp, value.total_value)
        .where(value.bot_id == bot["id"])
        .order_by(value.timestamp.desc())
        .limit(POINTS)
        .subquery()
    )
    close = (
        sa.select(candle.close)
        .where(
            candle.exchange == EXCHANGE,
            candle.symbol == bot["symbol"],
            candle.timeframe == bot["timeframe"],
            candle.timestamp == newest.c.timestamp,
        )
        .scalar_subquery()
    )
    query = sa.select(newest.c.timestamp, newest.c.total_value, close).order_by(newest.c.timestamp)
    with engine.connect() as connection:
        rows = [
            (row[0], float(row[1]), None if row[2] is None else float(row[2]))
            for row in connection.execute(query)
        ]
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
