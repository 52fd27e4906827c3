"""A stored sweep from several sides: a table of two parameters, samples, the lines through its optimum.

Each statement reads the kept rows of one sweep, which the primary key finds; they are at most what
`tcp sweep --top` keeps.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import JSONB

from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.tables import strategy_runs, sweep_results, walk_forward_windows

_ROWS = sweep_results.c
Market = tuple[str, str]
"""Symbol and timeframe."""


def markets(engine: Engine, sweep_id: str) -> list[Market]:
    """The markets that the sweep has rows of, by name."""
    query = (
        sa.select(_ROWS.symbol, _ROWS.timeframe)
        .where(_ROWS.sweep_id == sweep_id)
        .distinct()
        .order_by(_ROWS.symbol, _ROWS.timeframe)
    )
    with engine.connect() as connection:
        return [(row.symbol, row.timeframe) for row in connection.execute(query)]


def progress(engine: Engine, sweep_id: str) -> tuple[str, int] | None:
    """A sweep's state, and how many of its rows are here; None for one that is not there."""
    counted = sa.select(sa.func.count()).where(_ROWS.sweep_id == sweep_id).scalar_subquery()
    query = sa.select(strategy_runs.c.status, counted.label("rows")).where(strategy_runs.c.id == sweep_id)
    with engine.connect() as connection:
        found = connection.execute(query).one_or_none()
    return None if found is None else (found.status, found.rows)


def cells(
    engine: Engine, sweep_id: str, market: Market, x: str, y: str, metric: str, descending: bool
) -> list[dict[str, Any]]:
    """For every pair of values of two parameters: `x`, `y`, the best `value` of the metric over whatever else
    varies, and how many `rows` there are."""
    best = sa.func.max if descending else sa.func.min
    columns = (_ROWS.parameters[x].label("x"), _ROWS.parameters[y].label("y"))
    query = (
        sa.select(*columns, best(_number(metric)).label("value"), sa.func.count().label("rows"))
        .where(*_of(sweep_id, market))
        .group_by("x", "y")
    )
    return _read(engine, query)


def rows(engine: Engine, sweep_id: str, market: Market, limit: int) -> list[dict[str, Any]]:
    """The best rows, in the sweep's own order: `n`, `parameters`, `metrics`."""
    query = (
        sa.select(_ROWS.n, _ROWS.parameters, _ROWS.metrics)
        .where(*_of(sweep_id, market))
        .order_by(_ROWS.n)
        .limit(limit)
    )
    return _read(engine, query)


def kept(engine: Engine, sweep_id: str) -> int:
    """How many rows a sweep that is done has, of all markets: they are numbered from 0 on."""
    query = sa.select(sa.func.coalesce(sa.func.max(_ROWS.n) + 1, 0)).where(_ROWS.sweep_id == sweep_id)
    with engine.connect() as connection:
        return int(connection.execute(query).scalar_one())


def row(engine: Engine, sweep_id: str, n: int) -> dict[str, Any] | None:
    """One combination by its number, or None."""
    query = sa.select(sweep_results).where(_ROWS.sweep_id == sweep_id, _ROWS.n == n)
    return next(iter(_read(engine, query)), None)


def optimum(
    engine: Engine, sweep_id: str, market: Market, metric: str, descending: bool
) -> dict[str, Any] | None:
    """The row that is best by a metric; None where no row has it."""
    value = _number(metric)
    order = value.desc() if descending else value.asc()
    query = (
        sa.select(_ROWS.n, _ROWS.parameters, _ROWS.metrics)
        .where(*_of(sweep_id, market), value.is_not(None))
        .order_by(order, _ROWS.n)
        .limit(1)
    )
    return next(iter(_read(engine, query)), None)


def sample(engine: Engine, sweep_id: str, market: Market, metric: str, most: int) -> list[dict[str, Any]]:
    """`parameters` and `value` of at most `most` rows, evenly from the best to the worst."""
    counted = sa.select(sa.func.count()).where(*_of(sweep_id, market))
    with engine.connect() as connection:
        step = -(-connection.execute(counted).scalar_one() // most) or 1
    place = sa.func.row_number().over(order_by=_ROWS.n).label("place")
    ranked = (
        sa.select(_ROWS.parameters, _number(metric).label("value"), place)
        .where(*_of(sweep_id, market))
        .subquery()
    )
    query = sa.select(ranked.c.parameters, ranked.c.value).where((ranked.c.place - 1) % step == 0)
    return _read(engine, query.order_by(ranked.c.place).limit(most))


def line(
    engine: Engine, sweep_id: str, market: Market, best: dict[str, Any], name: str, metric: str
) -> list[tuple[Any, float | None]]:
    """(value of the parameter, metric) of the rows that differ from the best one in that parameter alone."""
    rest = {key: value for key, value in best.items() if key != name}
    same = _ROWS.parameters.op("-", return_type=JSONB)(sa.cast(name, sa.Text)) == sa.cast(
        sa.literal(rest, JSONB), JSONB
    )
    query = sa.select(_ROWS.parameters[name].label("at"), _number(metric).label("value")).where(
        *_of(sweep_id, market), same
    )
    return [(found["at"], found["value"]) for found in _read(engine, query)]


def walk_forward(
    engine: Engine, strategy: str, market: Market, exchange: str | None
) -> dict[str, Any] | None:
    """The newest walk-forward of a strategy on a market with its `windows`, oldest first, or None. exchange:
    as runs have it, None for the platform's own."""
    run = strategy_runs.c
    query = (
        sa.select(strategy_runs)
        .where(
            run.kind == "walk_forward",
            run.strategy_name == strategy,
            run.symbol == market[0],
            run.timeframe == market[1],
            sa.func.coalesce(run.exchange, EXCHANGE) == (exchange or EXCHANGE),
        )
        .order_by(run.created_at.desc())
        .limit(1)
    )
    found = next(iter(_read(engine, query)), None)
    if found is None:
        return None
    window = walk_forward_windows.c
    windows = sa.select(walk_forward_windows).where(window.run_id == found["id"]).order_by(window.n)
    return found | {"windows": _read(engine, windows)}


def _of(sweep_id: str, market: Market) -> tuple[sa.ColumnElement[bool], ...]:
    return _ROWS.sweep_id == sweep_id, _ROWS.symbol == market[0], _ROWS.timeframe == market[1]


def _number(metric: str) -> sa.ColumnElement[float]:
    return sa.cast(_ROWS.metrics[metric].astext, sa.Double)


def _read(engine: Engine, query: sa.Select[Any]) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(found) for found in connection.execute(query).mappings()]
