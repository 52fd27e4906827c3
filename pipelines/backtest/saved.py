"""Backtests that were kept: read back from the database or from result.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import BadInput


def read_runs(runs: Sequence[str], database_url: str | None) -> list[dict[str, Any]]:
    """id, strategy, symbol, timeframe, params, metrics of each: an id in the database, or a result.json.

    BadInput names the one that is not there.
    """
    return [
        _from_file(Path(run)) if run.endswith(".json") else _from_database(run, str(database_url))
        for run in runs
    ]


def _from_file(path: Path) -> dict[str, Any]:
    from config.files import read_document

    document = read_document(path)
    wanted = ("id", "strategy", "symbol", "timeframe", "params", "metrics")
    if not isinstance(document, dict) or not set(wanted) <= set(document):
        raise BadInput(str(path), "is not a result.json of `tcp backtest --out`")
    plain = {name: document[name] for name in wanted}
    plain["metrics"] = {
        name: value if value is None or isinstance(value, int) else float(value)
        for name, value in document["metrics"].items()
    }
    return plain | {"params": {name: _plain(value) for name, value in document["params"].items()}}


def _plain(value: Any) -> Any:
    from decimal import Decimal

    return float(value) if isinstance(value, Decimal) else value


def _from_database(run_id: str, database_url: str) -> dict[str, Any]:
    from sqlalchemy import select

    from pipelines.warehouse.database import engine
    from pipelines.warehouse.tables import strategy_runs as runs

    query = select(runs).where(runs.c.id == run_id, runs.c.kind == "backtest")
    with engine(database_url).connect() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise BadInput("run", f"{run_id!r} is not in the database")
    return {
        "id": row.id,
        "strategy": row.strategy_name,
        "symbol": row.symbol,
        "timeframe": row.timeframe,
        "params": row.parameters,
        "metrics": row.metrics,
    }
