"""Sweeps in Postgres: rows come chunk by chunk while it runs, and are put in order when it is done."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import polars as pl
from sqlalchemy import Connection, delete
from sqlalchemy.dialects.postgresql import insert

from core.metrics import METRICS
from pipelines.backtest.candles import Stretch
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.space import Space
from pipelines.warehouse import tables
from pipelines.warehouse.database import copying, engine

_COLUMNS = "sweep_id, n, symbol, timeframe, parameters, metrics"
_RUN, _ROWS = tables.strategy_runs, tables.sweep_results


class Recorder:
    """The run and its rows. A chunk is a transaction, and coming twice changes nothing; at the end one
    transaction replaces them by the same rows numbered from the best, and says that the run is done."""

    def __init__(
        self, database_url: str, sweep_id: str, request: SweepRequest, space: Space, pieces: Sequence[Stretch]
    ) -> None:
        self._engine, self._id, self._space, self._request = engine(database_url), sweep_id, space, request
        first = min(piece.candles["timestamp"][piece.warm] for piece in pieces)
        shortest = min(market.candle_ms for market in request.markets)
        values = {
            "id": sweep_id,
            "kind": "sweep",
            "strategy_name": space.strategy.name,
            "symbol": request.symbol,
            "timeframe": request.timeframe,
            "parameters": self._described(),
            "start_time": first - timedelta(milliseconds=shortest),
            "end_time": max(piece.candles["timestamp"][-1] for piece in pieces),
            "status": "running",
            "candles": sum(piece.judged for piece in pieces),
            "initial_cash": request.cash,
            "fee": request.fee,
            "slippage": request.slippage,
            "error": None,
        }
        with self._engine.begin() as connection:
            connection.execute(
                insert(_RUN).values(values).on_conflict_do_update(index_elements=["id"], set_=values)
            )

    def chunk(self, number: int, table: pl.DataFrame) -> None:
        """Write a chunk's rows, which have numbers `n` of their own."""
        if not table.height:
            return
        low, high = table["n"][0], table["n"][-1]
        with self._engine.begin() as connection:
            connection.execute(
                delete(_ROWS).where(_ROWS.c.sweep_id == self._id, _ROWS.c.n.between(low, high))
            )
            self._copy(connection, [table])

    def finish(
        self, rows: int, dropped: int, failed: int, best: pl.DataFrame, batches: Iterable[pl.DataFrame]
    ) -> None:
        """Put the rows in the order of the result, all or nothing."""
        best_row = {name: best[name][0] for name in METRICS} if best.height else None
        counts = {"combinations": rows, "skipped": dropped, "failed": failed}
        with self._engine.begin() as connection:
            connection.execute(delete(_ROWS).where(_ROWS.c.sweep_id == self._id))
            self._copy(connection, batches)
            connection.execute(
                _RUN.update()
                .where(_RUN.c.id == self._id)
                .values(
                    status="done",
                    parameters=self._described() | counts,
                    metrics={"sort": self._request.sort, "best": best_row},
                    finished_at=datetime.now(UTC),
                )
            )

    def stopped(self, error: str) -> None:
        """Say that the run ended early and why; its rows stay, and it can go on."""
        with self._engine.begin() as connection:
            connection.execute(
                _RUN.update()
                .where(_RUN.c.id == self._id)
                .values(status="failed", error=error, finished_at=datetime.now(UTC))
            )

    def _described(self) -> dict[str, Any]:
        request = self._request
        described: dict[str, Any] = {
            "grid": {
                axis.name: request.grid.get(axis.name) or _shown(axis.values) for axis in self._space.axes
            },
            "fixed": request.parameters,
            "search": request.search,
        }
        if request.search != "grid":
            described |= {"trials": request.draws, "seed": request.seed}
        if request.where:
            described["where"] = request.where
        if request.exchange:
            described["exchange"] = request.exchange
        return described | ({"risk": request.risk.document()} if request.risk else {})

    def _copy(self, connection: Connection, batches: Iterable[pl.DataFrame]) -> None:
        statement, n = f"COPY sweep_results ({_COLUMNS}) FROM STDIN", 0
        with copying(connection, statement) as copy:
            for table in batches:
                for row in table.iter_rows(named=True):
                    parameters = {name: row[name] for name in self._space.names}
                    metrics = {name: row[name] for name in METRICS}
                    if row["error"] is not None:
                        metrics["error"] = row["error"]
                    market = row["symbol"], row["timeframe"]
                    copy.write_row((self._id, row.get("n", n), *market, _json(parameters), _json(metrics)))
                    n += 1


def _shown(values: Sequence[Any]) -> Any:
    return f"{values[0]} … {values[-1]} ({len(values):,} values)" if len(values) > 20 else list(values)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
