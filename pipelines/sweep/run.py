"""A sweep from request to table."""

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import polars as pl

from core.errors import BadInput
from pipelines.backtest.account import Floats, Ints
from pipelines.backtest.candles import Stretch, stretch
from pipelines.sweep.crossings import costs, walk_pairs
from pipelines.sweep.grid import Grid, expand
from pipelines.sweep.lines import Pair, crossing_pair, lines_at_once
from pipelines.sweep.prices import Prices, prepare
from pipelines.sweep.request import SweepRequest
from pipelines.sweep.table import metrics_of, table_of
from strategies.base import Strategy

Progress = Callable[[int, int], None]


def execute_sweep(
    request: SweepRequest,
    database_url: str | None = None,
    candles: pl.DataFrame | None = None,
    out: str | Path | None = None,
    on_progress: Progress | None = None,
    sweep_id: str | None = None,
) -> pl.DataFrame:
    """Every valid combination, best first: its parameters, then every metric (null where undefined).

    candles: a candle frame; None reads the database. out: a Parquet file to write, whole or not at all.
    on_progress(done, of): called along the way. With a database the result is kept in it under `sweep_id`.
    """
    grid = expand(request.strategy, request.grid, request.parameters, request.timeframe)
    window = max(request.risk.history if request.risk else 0, *(s.window for s in grid.strategies))
    warmup = min(strategy.warmup for strategy in grid.strategies)
    piece = stretch(request, window, warmup, database_url, candles)
    table = sweep(grid, piece, request, on_progress or (lambda done, of: None))
    lower_is_better = request.sort in ("volatility", "fees", "turnover", "max_drawdown_duration")
    table = table.sort(request.sort, descending=not lower_is_better, nulls_last=True, maintain_order=True)
    if out is not None:
        write_whole(table, Path(out))
    if database_url is not None:
        from pipelines.sweep.store import save_sweep

        save_sweep(database_url, sweep_id or uuid4().hex[:12], request, grid, piece, table)
    return table


def sweep(grid: Grid, piece: Stretch, request: SweepRequest, report: Progress) -> pl.DataFrame:
    """Walk every combination of the grid; rows in the grid's order."""
    from pipelines.sweep.walk import new_states

    parameters = [
        {name: getattr(strategy.parameters, name) for name in grid.names} for strategy in grid.strategies
    ]
    if request.risk is not None:
        from pipelines.sweep.guarded import guarded_metrics

        return table_of(parameters, guarded_metrics(grid.strategies, piece, request, report))
    traded = piece.candles.slice(piece.warm)
    prices = prepare(traded, request.fill == "open")
    floats, integers = new_states(len(grid.strategies), request.cash)
    pairs = _pairs(grid.strategies)
    walked = None
    if pairs is not None:
        walked = walk_pairs(pairs, piece, prices, request, floats, integers, report)
    if not walked:
        floats, integers = new_states(len(grid.strategies), request.cash)
        _walk_each(grid.strategies, piece, prices, request, floats, integers, report)
    return table_of(parameters, metrics_of(floats, integers, prices, request.cash, request.candle_ms))


def prepare_target(path: Path) -> None:
    """Make the folder of a file to be written; BadInput, before any work is done, when it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput("--out", f"{path}: {error.strerror or error}") from None
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise BadInput("--out", f"{path} cannot be written")


def write_whole(table: pl.DataFrame, path: Path) -> None:
    """Parquet under a temporary name, then renamed: a reader never sees half a file, not even after an
    error."""
    prepare_target(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        table.write_parquet(temporary)
        temporary.replace(path)
    except OSError as error:
        raise BadInput("--out", f"{path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _pairs(strategies: list[Strategy]) -> list[Pair] | None:
    pairs = []
    for strategy in strategies:
        pair = crossing_pair(strategy)
        if pair is None:
            return None
        pairs.append(pair)
    return pairs


def _walk_each(
    strategies: list[Strategy],
    piece: Stretch,
    prices: Prices,
    request: SweepRequest,
    floats: Floats,
    integers: Ints,
    report: Progress,
) -> None:
    from pipelines.sweep.events import walk_signals
    from pipelines.sweep.general import SharedColumns

    shared = SharedColumns(piece.candles, lines_at_once(piece.candles.height))
    for n, strategy in enumerate(strategies):
        judged = shared.signals(strategy).slice(piece.warm)
        buy, sell = judged["buy"].to_numpy(writable=True), judged["sell"].to_numpy(writable=True)
        walk_signals(floats[n], integers[n], buy, sell, *costs(request), *prices.arrays())
        if (n + 1) % 20 == 0 or n + 1 == len(strategies):
            report(n + 1, len(strategies))
