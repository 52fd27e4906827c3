"""Sweeps in Postgres: rows come chunk by chunk while it runs, and are put in order when it is done."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import polars as pl
from sqlalchemy import Connection, delete
from sqlalchemy.dialects.postgresql import insert

from core.errors import BadInput, Cancelled
from core.metrics import METRICS
from pipelines.backtest.candles import Stretch
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.space import Space
from pipelines.validation.luck import Luck
from pipelines.warehouse import tables
from pipelines.warehouse.database import copying, engine
from pipelines.warehouse.sql import EXCHANGE
from pipelines.warehouse.sweep_runs import lease_of, mark_interrupted, refuse_cancelled

_COLUMNS = "sweep_id, n, symbol, timeframe, parameters, metrics"
_RUN, _ROWS = tables.strategy_runs, tables.sweep_results


class Recorder:
    """The run and its best rows. A chunk is a transaction, and coming twice changes nothing; at the end one
    transaction replaces them by the best of all, numbered from the best, and says that the run is done.

    As long as it lives it holds the lock of the sweep, which tells it from one whose process has gone.
    """

    def __init__(
        self,
        database_url: str,
        sweep_id: str,
        request: SweepRequest,
        space: Space,
        pieces: Sequence[Stretch],
        most: int,
        resume: str | None = None,
    ) -> None:
        """most: rows that are kept; resume: by what name the sweep goes on, if not by its id."""
        self._engine, self._id, self._space, self._request = engine(database_url), sweep_id, space, request
        self._most, self._resume, self._values = most, resume, np.empty(0)
        mark_interrupted(self._engine)
        self._lease = lease_of(self._engine, sweep_id)
        if not self._lease.hold():
            raise BadInput("sweep", f"{sweep_id}: another process is at the same sweep")
        first = min(piece.candles["timestamp"][piece.warm] for piece in pieces)
        shortest = min(market.candle_ms for market in request.markets)
        values = {
            "id": sweep_id,
            "kind": "sweep",
            "strategy_name": space.strategy.name,
            "symbol": request.symbol,
            "timeframe": request.timeframe,
            "exchange": request.exchange or EXCHANGE,
            "parameters": self._described(),
            "start_time": first - timedelta(milliseconds=shortest),
            "end_time": max(piece.candles["timestamp"][-1] for piece in pieces),
            "status": "running",
            "candles": sum(piece.judged for piece in pieces),
            "initial_cash": request.cash,
            "fee": request.fee,
            "slippage": request.slippage,
            "error": None,
            "finished_at": None,
        }
        with self._engine.begin() as connection:
            connection.execute(
                insert(_RUN).values(values).on_conflict_do_update(index_elements=["id"], set_=values)
            )

    def chunk(self, number: int, table: pl.DataFrame) -> None:
        """Write those of a chunk's rows, numbered by `n`, that are among the best so far. Cancelled when
        somebody asked for the end of the sweep."""
        if not table.height:
            return
        low, high = table["n"][0], table["n"][-1]
        self._lease.hold()
        with self._engine.begin() as connection:
            refuse_cancelled(connection, self._id)
            connection.execute(
                delete(_ROWS).where(_ROWS.c.sweep_id == self._id, _ROWS.c.n.between(low, high))
            )
            self._copy(connection, [self._best_of(table)])
            # The lock may have been away for a moment, with the server, and the run been taken for dead.
            connection.execute(
                _RUN.update()
                .where(_RUN.c.id == self._id, _RUN.c.status != "running")
                .values(status="running", error=None, finished_at=None)
            )

    def finish(
        self,
        rows: int,
        dropped: int,
        failed: int,
        best: pl.DataFrame,
        batches: Iterable[pl.DataFrame],
        luck: Mapping[str, Luck],
    ) -> None:
        """Put the best rows in the order of the result, all or nothing; Cancelled as of `chunk`. luck: of
        each market, kept where there are rows that are not."""
        best_row = {name: best[name][0] for name in METRICS} if best.height else None
        counts: dict[str, Any] = {"combinations": rows, "skipped": dropped, "failed": failed}
        if rows > self._most:
            counts["tried"] = {market: own.moments() for market, own in luck.items()}
        with self._engine.begin() as connection:
            refuse_cancelled(connection, self._id)
            connection.execute(delete(_ROWS).where(_ROWS.c.sweep_id == self._id))
            self._copy(connection, first_rows(batches, self._most))
            connection.execute(
                _RUN.update()
                .where(_RUN.c.id == self._id)
                .values(
                    status="done",
                    error=None,
                    parameters=self._described() | counts,
                    metrics={"sort": self._request.sort, "best": best_row},
                    finished_at=datetime.now(UTC),
                )
            )

    def stopped(self, error: BaseException) -> None:
        """Say that the run ended early and why; its rows stay, and it can go on."""
        status = "failed" if isinstance(error, Exception) else "interrupted"
        status = "cancelled" if isinstance(error, Cancelled) else status
        with self._engine.begin() as connection:
            connection.execute(
                _RUN.update()
                .where(_RUN.c.id == self._id)
                .values(status=status, error=str(error) or "interrupted", finished_at=datetime.now(UTC))
            )

    def close(self) -> None:
        """Let go of the sweep's lock."""
        self._lease.release()

    def _best_of(self, table: pl.DataFrame) -> pl.DataFrame:
        """The rows that are better than the worst of the best so far, which they join. Of rows worth the same
        the first ones count, as in the result."""
        values = table[self._request.sort].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        worth = np.where(np.isnan(values), -np.inf, values if self._request.descending else -values)
        if self._values.size >= self._most:
            chosen = np.flatnonzero(worth > self._values[0])
        else:
            chosen = np.arange(worth.size)
        order = np.argsort(-worth[chosen], kind="stable")[: self._most]
        chosen = np.sort(chosen[order])
        self._values = np.sort(np.concatenate((self._values, worth[chosen])))[-self._most :]
        return table[chosen]

    def _described(self) -> dict[str, Any]:
        request = self._request
        described: dict[str, Any] = {
            "grid": {
                axis.name: request.grid.get(axis.name) or _shown(axis.values) for axis in self._space.axes
            },
            "fixed": self._space.constant(),
            "search": request.search,
        }
        if request.search != "grid":
            described |= {"trials": request.draws, "seed": request.seed}
        if request.where:
            described["where"] = request.where
        if request.exchange:
            described["exchange"] = request.exchange
        if self._resume:
            described["resume"] = self._resume
        blocks = {"risk": request.risk, "execution": request.execution}
        return described | {name: block.document() for name, block in blocks.items() if block}

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


def first_rows(batches: Iterable[pl.DataFrame], count: int) -> Iterator[pl.DataFrame]:
    """The first `count` rows of all batches; no batch beyond them is asked for."""
    left = count
    for batch in batches:
        yield batch.head(left)
        left -= batch.height
        if left <= 0:
            return


def _shown(values: Sequence[Any]) -> Any:
    return f"{values[0]} … {values[-1]} ({len(values):,} values)" if len(values) > 20 else list(values)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
