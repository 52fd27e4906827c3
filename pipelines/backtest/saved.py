"""Backtests that were kept: read back from the database or from result.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BadInput

if TYPE_CHECKING:
    import polars as pl

_MORE = ("from", "to", "candles", "initial_cash", "fee", "slippage", "fill")
_NO_RESULT = "is not a result.json of `tcp backtest --out`"


def read_runs(runs: Sequence[str], database_url: str | None) -> list[dict[str, Any]]:
    """id, strategy, symbol, timeframe, params, metrics of each, and where known from, to, candles,
    initial_cash, fee, slippage: an id in the database, or a result.json, or its folder.

    BadInput names the one that is not there.
    """
    return [
        _from_file(file_of(run)) if is_file(run) else _from_database(run, str(database_url)) for run in runs
    ]


def read_equity(run: str, database_url: str | None) -> "pl.DataFrame | None":
    """timestamp, equity and, where it was kept, close of a run's curve; None if there is none beside its
    result.json. In the database long curves are thinned (see `store.thinned`)."""
    return _equity_of_file(file_of(run)) if is_file(run) else _equity_of_database(run, str(database_url))


def is_file(run: str) -> bool:
    """Whether that names a file or a folder rather than a run in the database."""
    return run.endswith(".json") or Path(run).is_dir()


def file_of(run: str) -> Path:
    """The result.json meant by a file or a folder."""
    return Path(run) / "result.json" if Path(run).is_dir() else Path(run)


def _from_file(path: Path) -> dict[str, Any]:
    from config.files import plain, read_document

    document = read_document(path, modest=False)  # a run may have any number of trades
    wanted = ("id", "strategy", "symbol", "timeframe", "params", "metrics")
    if not isinstance(document, dict) or not set(wanted) <= set(document):
        raise BadInput(str(path), _NO_RESULT)
    found = {name: plain(document[name]) for name in (*wanted, *_MORE) if name in document}
    numbers = found["metrics"].values() if isinstance(found["metrics"], dict) else ["none"]
    if not isinstance(found["params"], dict) or not all(isinstance(n, int | float | None) for n in numbers):
        raise BadInput(str(path), _NO_RESULT)
    return found


def _from_database(run_id: str, database_url: str) -> dict[str, Any]:
    from sqlalchemy import select

    from pipelines.backtest.result import iso
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.tables import strategy_runs as runs

    query = select(runs).where(runs.c.id == run_id, runs.c.kind.in_(("backtest", "walk_forward")))
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
        "from": iso(row.start_time),
        "to": iso(row.end_time),
        "candles": row.candles,
        "initial_cash": float(row.initial_cash),
        "fee": row.fee,
        "slippage": row.slippage,
    }


def _equity_of_file(path: Path) -> "pl.DataFrame | None":
    import polars as pl

    beside = path.parent / "equity.parquet"
    if not beside.is_file():
        return None
    try:
        frame = pl.read_parquet(beside)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BadInput(str(beside), f"cannot be read: {str(error).splitlines()[0]}") from None
    kept = [name for name in ("timestamp", "equity", "close") if name in frame.columns]
    if not {"timestamp", "equity"} <= set(kept):
        raise BadInput(str(beside), "has no columns timestamp and equity")
    return frame.select(kept)


def _equity_of_database(run_id: str, database_url: str) -> "pl.DataFrame":
    import polars as pl
    from sqlalchemy import select

    from pipelines.warehouse.database import engine
    from pipelines.warehouse.tables import backtest_equity as curve

    columns = (curve.c.timestamp, curve.c.equity, curve.c.close)
    query = select(*columns).where(curve.c.run_id == run_id).order_by(curve.c.timestamp)
    with engine(database_url).connect() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    schema: dict[str, Any] = {
        "timestamp": pl.Datetime("us", "UTC"),
        "equity": pl.Float64,
        "close": pl.Float64,
    }
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.drop("close") if frame["close"].null_count() else frame
