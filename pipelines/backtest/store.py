"""Backtest results in Postgres: one transaction a run."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Table

from pipelines.backtest.result import BacktestResult, saved_parameters
from pipelines.warehouse import tables
from pipelines.warehouse.database import copying, engine
from pipelines.warehouse.sql import EXCHANGE

EQUITY_POINTS = 5_000
"""Rows of an equity curve that are kept: more than a screen has pixels."""


def save_run(database_url: str, result: BacktestResult) -> None:
    """Keep run, signals, trades and the thinned equity curve, all or nothing."""
    with engine(database_url).begin() as connection:
        write_run(connection, result, "backtest", saved_parameters(result))


def write_run(connection: Connection, result: BacktestResult, kind: str, parameters: dict[str, Any]) -> None:
    """Write run, signals, trades and the thinned equity curve, in the transaction of the caller."""
    request = result.request
    connection.execute(
        tables.strategy_runs.insert().values(
            id=result.id,
            kind=kind,
            strategy_name=request.strategy,
            symbol=request.symbol,
            timeframe=request.timeframe,
            exchange=request.exchange or EXCHANGE,
            parameters=parameters,
            validation=result.validation,
            start_time=result.start,
            end_time=result.end,
            status="done",
            candles=result.candles,
            initial_cash=request.cash,
            final_value=result.final_value,
            fee=request.fee,
            slippage=request.slippage,
            metrics=result.metrics,
            finished_at=datetime.now(UTC),
        )
    )
    _copy(connection, tables.strategy_signals, result.id, result.signals)
    _copy(connection, tables.backtest_trades, result.id, result.trades.with_row_index("n"))
    _copy(connection, tables.backtest_equity, result.id, thinned(result.equity))


def thinned(equity: pl.DataFrame, points: int = EQUITY_POINTS) -> pl.DataFrame:
    """At most `points` rows with the first, the last, the extremes of each step and, where they are no more
    than half of it, the last of each hour, else of each UTC day: peaks and troughs stay where, returns of
    hours or days what they were."""
    if equity.height <= points:
        return equity
    ends = _ends(equity["timestamp"], "1h")
    ends = ends if ends.len() <= points // 2 else _ends(equity["timestamp"], "1d")
    ends = ends if ends.len() <= points // 2 else ends.clear()
    step = -(-equity.height // ((points - ends.len()) // 2 - 1))
    numbered = equity.with_row_index("row")
    kept = numbered.group_by(pl.col("row") // step).agg(
        pl.col("row").sort_by("equity").first().alias("lowest"),
        pl.col("row").sort_by("equity").last().alias("highest"),
    )
    first_last = pl.Series([0, equity.height - 1], dtype=pl.UInt32)
    rows = pl.concat([kept["lowest"], kept["highest"], first_last, ends.cast(pl.UInt32)])
    return equity[rows.unique().sort()]


def _ends(times: pl.Series, unit: str) -> pl.Series:
    """Rows of the last candle of each hour or day; what closes on the boundary belongs to the one before."""
    inside = times.dt.offset_by("-1us").dt.truncate(unit)
    return (inside != inside.shift(-1)).fill_null(True).arg_true()


def _copy(connection: Connection, table: Table, run_id: str, rows: pl.DataFrame) -> None:
    names: Sequence[str] = ["run_id", *rows.columns]
    statement = f"COPY {table.name} ({', '.join(names)}) FROM STDIN"
    with copying(connection, statement) as copy:
        for row in rows.iter_rows():
            values: tuple[Any, ...] = (run_id, *row)
            copy.write_row(values)
