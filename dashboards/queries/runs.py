"""Backtests and sweeps that were run: the list, one run's trades and equity, sweep rows."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from core.errors import BadInput
from dashboards.queries.spans import ALL_TIME, Span, within
from pipelines.warehouse.tables import (
    backtest_equity,
    backtest_trades,
    strategy_runs,
    strategy_signals,
    sweep_results,
    walk_forward_windows,
)


def runs(
    engine: Engine,
    kind: str = "backtest",
    limit: int = 50,
    before: tuple[datetime, str] | None = None,
    span: Span = ALL_TIME,
) -> list[dict[str, Any]]:
    """Newest runs of a kind, newest first; `before`: (created_at, id) of the last row already seen; `span`:
    when they were made."""
    columns = strategy_runs.c
    query = sa.select(strategy_runs).where(columns.kind == kind, *within(columns.created_at, span))
    if before is not None:
        query = query.where(sa.tuple_(columns.created_at, columns.id) < sa.tuple_(*map(sa.literal, before)))
    query = query.order_by(columns.created_at.desc(), columns.id.desc()).limit(limit)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def run(engine: Engine, run_id: str) -> dict[str, Any] | None:
    """One run, or None."""
    with engine.connect() as connection:
        row = (
            connection.execute(sa.select(strategy_runs).where(strategy_runs.c.id == run_id))
            .mappings()
            .first()
        )
        return dict(row) if row else None


def run_trades(engine: Engine, run_id: str) -> list[dict[str, Any]]:
    """Round trips of a backtest, in order."""
    query = sa.select(backtest_trades).where(backtest_trades.c.run_id == run_id).order_by(backtest_trades.c.n)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def run_trades_between(
    engine: Engine, run_id: str, first: int, most: int, order: str, descending: bool
) -> tuple[list[dict[str, Any]], int]:
    """(round trips of a backtest from the `first` on, at most `most`; how many there are in all).

    order: a column, or "return": of what was paid. An open one's end and profit come last either way.
    Raises BadInput for an order that there is not.
    """
    columns = backtest_trades.c
    paid = columns.entry_price * columns.quantity
    keys = {column.name: column for column in columns} | {"return": columns.pnl / sa.func.nullif(paid, 0)}
    if order not in keys:
        raise BadInput("order", f"there is no {order!r}: use one of {', '.join(sorted(keys))}")
    key = keys[order].desc() if descending else keys[order].asc()
    mine = columns.run_id == run_id
    query = sa.select(backtest_trades).where(mine).order_by(key.nulls_last(), columns.n)
    with engine.connect() as connection:
        count = connection.execute(sa.select(sa.func.count()).where(mine)).scalar_one()
        rows = connection.execute(query.offset(first).limit(most)).mappings()
        return [dict(row) for row in rows], count


def run_equity(engine: Engine, run_id: str) -> list[tuple[datetime, float]]:
    """(close time, equity) of a backtest, oldest first."""
    columns = backtest_equity.c
    query = (
        sa.select(columns.timestamp, columns.equity)
        .where(columns.run_id == run_id)
        .order_by(columns.timestamp)
    )
    with engine.connect() as connection:
        return [(row.timestamp, row.equity) for row in connection.execute(query)]


def equity_rows(
    engine: Engine, run_id: str, limit: int, after: datetime | None = None, span: Span = ALL_TIME
) -> list[dict[str, Any]]:
    """Kept points of a backtest's curve, oldest first, from behind `after`: timestamp, equity, close."""
    return _by_time(engine, backtest_equity, run_id, limit, after, span)


def signal_rows(
    engine: Engine, run_id: str, limit: int, after: datetime | None = None, span: Span = ALL_TIME
) -> list[dict[str, Any]]:
    """Signals of a backtest that an order followed, oldest first: timestamp, signal_type, price."""
    return _by_time(engine, strategy_signals, run_id, limit, after, span)


def _by_time(
    engine: Engine,
    rows: sa.Table,
    run_id: str,
    limit: int,
    after: datetime | None,
    span: Span,
) -> list[dict[str, Any]]:
    times = rows.c.timestamp
    query = sa.select(*(column for column in rows.c if column.name != "run_id"))
    query = query.where(rows.c.run_id == run_id, *within(times, span))
    if after is not None:
        query = query.where(times > after)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query.order_by(times).limit(limit)).mappings()]


def windows(engine: Engine, run_id: str, limit: int, after: int = -1) -> list[dict[str, Any]]:
    """Windows of a walk-forward in their order, from n > after."""
    columns = walk_forward_windows.c
    query = (
        sa.select(*(column for column in columns if column.name != "run_id"))
        .where(columns.run_id == run_id, columns.n > after)
        .order_by(columns.n)
        .limit(limit)
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def sweep_rows(engine: Engine, run_id: str, limit: int, after: int = -1) -> list[dict[str, Any]]:
    """Combinations of a sweep in their order, from n > after."""
    columns = sweep_results.c
    query = (
        sa.select(sweep_results)
        .where(columns.sweep_id == run_id, columns.n > after)
        .order_by(columns.n)
        .limit(limit)
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
