"""What was tried so far, from the tables of runs."""

from typing import Any

from sqlalchemy import BigInteger, Double, Engine, cast, func, literal, null, select, union_all
from sqlalchemy.dialects.postgresql import JSONB

from pipelines.warehouse.tables import strategy_runs as runs
from pipelines.warehouse.tables import sweep_results as rows


def read_trials(
    engine: Engine, strategy: str, symbol: str, timeframe: str, parameters: dict[str, Any]
) -> tuple[int, float | None]:
    """(number, sample deviation of the Sharpe ratios) of all distinct sets of parameters tried.

    Every backtest, every row of every sweep and `parameters` themselves; the combinations of each
    walk-forward on top, whose ratios are those of short stretches and are not looked at.
    """
    family = (runs.c.strategy_name == strategy, runs.c.timeframe == timeframe)
    backtests = select(runs.c.parameters.label("tried"), _sharpe(runs.c.metrics)).where(
        *family, runs.c.symbol == symbol, runs.c.kind == "backtest"
    )
    fixed = func.coalesce(runs.c.parameters["fixed"], cast({}, JSONB))
    sweeps = (
        select(fixed.concat(rows.c.parameters), _sharpe(rows.c.metrics))
        .join(runs, runs.c.id == rows.c.sweep_id)
        .where(*family, rows.c.symbol == symbol)
    )
    this = select(cast(literal(parameters, JSONB), JSONB), cast(null(), Double))
    every = union_all(backtests, sweeps, this).subquery()
    once = select(func.avg(every.c.sharpe).label("sharpe")).group_by(every.c.tried).subquery()
    walked = select(func.coalesce(func.sum(cast(runs.c.parameters["combinations"].astext, BigInteger)), 0))
    walked = walked.where(*family, runs.c.symbol == symbol, runs.c.kind == "walk_forward")
    with engine.connect() as connection:
        row = connection.execute(
            select(
                func.count().label("tried"), func.stddev_samp(once.c.sharpe).label("deviation")
            ).select_from(once)
        ).one()
        return int(row.tried) + int(connection.execute(walked).scalar_one()), row.deviation


def read_walk_forwards(
    engine: Engine, strategy: str, symbol: str, timeframe: str
) -> tuple[int, float | None]:
    """(number, sample deviation of the Sharpe ratios) of the walk-forwards made so far."""
    sharpe = _sharpe(runs.c.metrics)
    query = select(func.count().label("made"), func.stddev_samp(sharpe).label("deviation")).where(
        runs.c.strategy_name == strategy,
        runs.c.symbol == symbol,
        runs.c.timeframe == timeframe,
        runs.c.kind == "walk_forward",
    )
    with engine.connect() as connection:
        row = connection.execute(query).one()
    return int(row.made), row.deviation


def _sharpe(metrics: Any) -> Any:
    return cast(metrics["sharpe"].astext, Double).label("sharpe")
