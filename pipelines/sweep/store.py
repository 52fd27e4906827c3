"""Sweep results in Postgres: one transaction a sweep."""

from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl

from core.metrics import METRICS
from pipelines.backtest.candles import Stretch
from pipelines.sweep.grid import Grid
from pipelines.sweep.request import SweepRequest
from pipelines.warehouse import tables
from pipelines.warehouse.database import driver, engine

_COLUMNS = "sweep_id, n, symbol, timeframe, parameters, metrics"


def save_sweep(
    database_url: str, sweep_id: str, request: SweepRequest, grid: Grid, piece: Stretch, table: pl.DataFrame
) -> None:
    """Keep the run and a row a combination, in the order of the table, all or nothing."""
    first = piece.candles["timestamp"][piece.warm]
    with engine(database_url).begin() as connection:
        connection.execute(
            tables.strategy_runs.insert().values(
                id=sweep_id,
                kind="sweep",
                strategy_name=grid.strategies[0].name,
                symbol=request.symbol,
                timeframe=request.timeframe,
                parameters={
                    "grid": request.grid,
                    "fixed": request.parameters,
                    "combinations": table.height,
                    "skipped": grid.skipped,
                },
                start_time=first - timedelta(milliseconds=request.candle_ms),
                end_time=piece.candles["timestamp"][-1],
                status="done",
                candles=piece.judged,
                initial_cash=request.cash,
                fee=request.fee,
                slippage=request.slippage,
                metrics={"sort": request.sort, "best": table.select(METRICS).row(0, named=True)},
                finished_at=datetime.now(UTC),
            )
        )
        statement = f"COPY sweep_results ({_COLUMNS}) FROM STDIN"
        with driver(connection).cursor() as cursor, cursor.copy(statement) as copy:
            for n, row in enumerate(table.iter_rows(named=True)):
                parameters = {name: row[name] for name in grid.names}
                metrics = {name: row[name] for name in METRICS}
                copy.write_row(
                    (sweep_id, n, request.symbol, request.timeframe, _json(parameters), _json(metrics))
                )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
