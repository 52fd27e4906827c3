"""What was tried so far, from the tables of runs."""

import json
from collections.abc import Mapping
from math import sqrt
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Engine,
    and_,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB

from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.tables import strategy_runs as runs
from pipelines.warehouse.tables import sweep_results as rows

BLOCKS = ("risk", "execution")
"""Parts of a run's parameters that hold what a sweep may vary as well."""
WHAT = ("grid", "fixed", "where", "search", "trials", "seed", "exchange", *BLOCKS)
"""What tells a sweep from another."""
Moments = Mapping[str, Any]


def read_trials(
    engine: Engine,
    strategy: str,
    symbol: str,
    timeframe: str,
    parameters: dict[str, Any],
    exchange: str | None = None,
) -> tuple[int, float | None]:
    """(number, sample deviation of the Sharpe ratios) of all distinct variants tried on an exchange's candles
    (None: that in force): sets of parameters, exits and execution options.

    Every backtest, every row of every sweep and `parameters` themselves; of a sweep whose best rows alone are
    kept, as many as it walked; the combinations of each walk-forward on top, whose ratios are those of short
    stretches and are not looked at.
    """
    own = _own(strategy, exchange)
    with engine.connect() as connection:
        parts = [
            _distinct(connection, own, symbol, timeframe, parameters),
            *_thinned(connection, own, f"{symbol} {timeframe}"),
        ]
        walked = select(
            func.coalesce(func.sum(cast(runs.c.parameters["combinations"].astext, BigInteger)), 0)
        )
        family = (own, runs.c.timeframe == timeframe, runs.c.symbol == symbol)
        more = connection.execute(walked.where(*family, runs.c.kind == "walk_forward")).scalar_one()
    return sum(int(part["count"]) for part in parts) + int(more), _deviation(parts)


def read_walk_forwards(
    engine: Engine, strategy: str, symbol: str, timeframe: str, exchange: str | None = None
) -> tuple[int, float | None]:
    """(number, sample deviation of the Sharpe ratios) of the walk-forwards made so far; exchange as above."""
    sharpe = _sharpe(runs.c.metrics)
    query = select(func.count().label("made"), func.stddev_samp(sharpe).label("deviation")).where(
        _own(strategy, exchange),
        runs.c.symbol == symbol,
        runs.c.timeframe == timeframe,
        runs.c.kind == "walk_forward",
    )
    with engine.connect() as connection:
        row = connection.execute(query).one()
    return int(row.made), row.deviation


def _own(strategy: str, exchange: str | None) -> ColumnElement[bool]:
    """Runs of a strategy on an exchange's candles."""
    whose = func.coalesce(runs.c.exchange, EXCHANGE) == (exchange or EXCHANGE)
    return and_(runs.c.strategy_name == strategy, whose)


def _distinct(
    connection: Connection,
    own: ColumnElement[bool],
    symbol: str,
    timeframe: str,
    parameters: dict[str, Any],
) -> Moments:
    """Of backtests, of sweeps whose rows are all there, and of `parameters`."""
    backtests = select(_flat(runs.c.parameters).label("tried"), _sharpe(runs.c.metrics)).where(
        own, runs.c.timeframe == timeframe, runs.c.symbol == symbol, runs.c.kind == "backtest"
    )
    fixed: Any = func.coalesce(runs.c.parameters["fixed"], cast({}, JSONB))
    for block in BLOCKS:
        fixed = fixed.concat(func.coalesce(runs.c.parameters[block], cast({}, JSONB)))
    varied = func.jsonb_strip_nulls(fixed.concat(rows.c.parameters))
    sweeps = (
        select(varied, _sharpe(rows.c.metrics))
        .join(runs, runs.c.id == rows.c.sweep_id)
        .where(
            own,
            rows.c.symbol == symbol,
            rows.c.timeframe == timeframe,
            ~runs.c.parameters.has_key("tried"),
        )
    )
    this = select(_flat(cast(literal(parameters, JSONB), JSONB)), cast(null(), Double))
    every = union_all(backtests, sweeps, this).subquery()
    once = select(func.avg(every.c.sharpe).label("sharpe")).group_by(every.c.tried).subquery()
    known = func.count(once.c.sharpe)
    query = select(
        func.count().label("count"),
        known.label("known"),
        func.coalesce(func.avg(once.c.sharpe), 0.0).label("mean"),
        func.coalesce(func.var_pop(once.c.sharpe) * known, 0.0).label("spread"),
    ).select_from(once)
    return dict(connection.execute(query).mappings().one())


def _thinned(connection: Connection, own: ColumnElement[bool], market: str) -> list[Moments]:
    """Of each different sweep of which not all rows are kept."""
    query = select(runs.c.parameters).where(
        own, runs.c.kind == "sweep", runs.c.parameters["tried"].has_key(market)
    )
    different: dict[str, Moments] = {}
    found: list[dict[str, Any]] = list(connection.execute(query).scalars())
    for parameters in found:
        what = json.dumps([parameters.get(name) for name in WHAT], sort_keys=True)
        different[what] = parameters["tried"][market]
    return list(different.values())


def _deviation(parts: list[Moments]) -> float | None:
    """Sample deviation of all ratios from the mean and spread of each part."""
    known = sum(int(part["known"]) for part in parts)
    if known < 2:
        return None
    mean = sum(part["known"] * part["mean"] for part in parts) / known
    spread = sum(part["spread"] + part["known"] * (part["mean"] - mean) ** 2 for part in parts)
    return sqrt(spread / (known - 1))


def _flat(parameters: Any) -> Any:
    """The parameters of a run with those of its blocks beside them, as the rows of a sweep have them."""
    flat = parameters
    for block in BLOCKS:
        flat = flat.delete_path([block]).concat(func.coalesce(parameters[block], cast({}, JSONB)))
    return flat


def _sharpe(metrics: Any) -> Any:
    return cast(metrics["sharpe"].astext, Double).label("sharpe")
