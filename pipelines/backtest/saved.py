"""Backtests that were kept: read back from the database or from result.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import BadInput

_NO_RESULT = "is not a result.json of `tcp backtest --out`"


def read_runs(runs: Sequence[str], database_url: str | None) -> list[dict[str, Any]]:
    """id, strategy, symbol, timeframe, params, metrics of each: an id in the database, or a result.json, or
    its folder.

    BadInput names the one that is not there.
    """
    return [
        _from_file(file_of(run)) if is_file(run) else _from_database(run, str(database_url)) for run in runs
    ]


def is_file(run: str) -> bool:
    """Whether that names a file or a folder rather than a run in the database."""
    return run.endswith(".json") or Path(run).is_dir()


def file_of(run: str) -> Path:
    """The result.json meant by a file or a folder."""
    return Path(run) / "result.json" if Path(run).is_dir() else Path(run)


def _from_file(path: Path) -> dict[str, Any]:
    from config.files import plain, read_document

    document = read_document(path)
    wanted = ("id", "strategy", "symbol", "timeframe", "params", "metrics")
    if not isinstance(document, dict) or not set(wanted) <= set(document):
        raise BadInput(str(path), _NO_RESULT)
    found = {name: plain(document[name]) for name in wanted}
    numbers = found["metrics"].values() if isinstance(found["metrics"], dict) else ["none"]
    if not isinstance(found["params"], dict) or not all(isinstance(n, int | float | None) for n in numbers):
        raise BadInput(str(path), _NO_RESULT)
    return found


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
