"""Backtests, sweeps and walk-forwards as they end."""

from datetime import datetime

import msgspec
from sqlalchemy import Engine, select

from pipelines.warehouse.tables import strategy_runs

MOST = 200


class FinishedRun(msgspec.Struct, frozen=True):
    """A run that is done. total_return and sharpe: fractions and ratio, None where the run has none."""

    id: str
    kind: str
    strategy: str
    symbol: str
    finished_at: datetime
    total_return: float | None
    sharpe: float | None


def finished_since(engine: Engine, after: datetime | None) -> list[FinishedRun]:
    """Runs that were done after that moment (wall clock), oldest first, at most 200."""
    runs = strategy_runs.c
    query = (
        select(
            runs.id,
            runs.kind,
            runs.strategy_name.label("strategy"),
            runs.symbol,
            runs.finished_at,
            runs.metrics["total_return"].as_float().label("total_return"),
            runs.metrics["sharpe"].as_float().label("sharpe"),
        )
        .where(runs.status == "done", runs.finished_at.is_not(None))
        .order_by(runs.finished_at, runs.id)
        .limit(MOST)
    )
    if after is not None:
        query = query.where(runs.finished_at > after)
    with engine.connect() as connection:
        return [FinishedRun(**row) for row in connection.execute(query).mappings()]
