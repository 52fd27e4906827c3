"""`tcp sweep`."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from cli import exits, markets
from core.errors import BadInput

GRID = typer.Option([], "--grid", help="NAME=start:stop:step (stop included) or NAME=a,b,c; repeatable.")
SHOWN = ("total_return", "sharpe", "sortino", "max_drawdown", "win_rate", "trades", "fees")


def sweep(
    strategy: str | None = typer.Option(None, help="Name of a strategy."),
    symbol: str | None = markets.SYMBOL,
    timeframe: str | None = markets.TIMEFRAME,
    start: str | None = markets.FROM,
    end: str | None = markets.TO,
    grid: list[str] = GRID,
    param: list[str] = markets.PARAM,
    file: Path | None = typer.Option(None, help="A sweep file, as in config/sweeps/; options go over it."),
    candles: Path | None = markets.CANDLES,
    timestamps: str = markets.TIMESTAMPS,
    fee: float | None = typer.Option(None, help="Taker fee, a fraction; default 0.001."),
    slippage: float | None = typer.Option(None, help="A fraction of the price; default 0."),
    cash: float | None = typer.Option(None, help="Cash at the start, quote currency; default 10000."),
    fill: str | None = typer.Option(None, help="open (the default) or close, as in `tcp backtest`."),
    fee_currency: str | None = markets.FEE_CURRENCY,
    stop_loss: float | None = exits.STOP_LOSS,
    take_profit: float | None = exits.TAKE_PROFIT,
    trailing_stop: float | None = exits.TRAILING_STOP,
    max_candles: int | None = exits.MAX_CANDLES,
    sizing: str | None = exits.SIZING,
    size: float | None = exits.SIZE,
    max_daily_loss: float | None = exits.MAX_DAILY_LOSS,
    max_drawdown: float | None = exits.MAX_DRAWDOWN,
    sort: str | None = typer.Option(None, help="Metric to sort by, best first; default sharpe."),
    out: Path | None = typer.Option(None, help="Parquet file to write."),
    as_json: bool = markets.JSON,
) -> None:
    """A strategy over a grid of parameters: a row a combination, its parameters and every metric."""
    from pipelines.sweep.grid import parse_arguments
    from pipelines.sweep.request import SweepRequest
    from pipelines.sweep.run import execute_sweep, prepare_target
    from pipelines.sweep.sweepfile import read_sweep_file
    from strategies.registry import find

    values: dict[str, Any] = read_sweep_file(file) if file else {}
    options = {
        "strategy": strategy,
        "fee": fee,
        "slippage": slippage,
        "cash": cash,
        "fill": fill,
        "sort": sort,
    }
    options |= {"fee_currency": fee_currency, "symbol": symbol, "timeframe": timeframe}
    values |= {name: value for name, value in options.items() if value is not None}
    values |= exits.risk_of(
        stop_loss=stop_loss,
        take_profit=take_profit,
        trailing_stop=trailing_stop,
        max_candles=max_candles,
        sizing=sizing,
        size=size,
        max_daily_loss=max_daily_loss,
        max_drawdown=max_drawdown,
    )
    values["grid"] = {**values.get("grid", {}), **parse_arguments(grid)}
    values["parameters"] = {**values.get("parameters", {}), **markets.parameters(param)}
    if "strategy" not in values:
        raise BadInput("--strategy", "is needed, or --file with a sweep file")
    values["strategy"] = find(values["strategy"]).name
    values |= markets.market(values.get("symbol"), values.get("timeframe"), candles, start, end)
    if out is not None and out.suffix != ".parquet":
        raise BadInput("--out", f"{out} must end in .parquet")
    SweepRequest.read(values | {"timeframe": values["timeframe"] or "1m"})
    if out is not None:
        prepare_target(out)
    frame = markets.read_file(candles, timestamps, values)[0] if candles else None
    request = SweepRequest.read(values)
    url = None if candles else markets.database_url()
    began = time.perf_counter()
    with _progress() as report:
        table = execute_sweep(request, url, frame, out, report)
    seconds = time.perf_counter() - began
    if as_json:
        best = table.head(10).to_dicts()
        document = {"strategy": request.strategy, "combinations": table.height, "seconds": seconds}
        print(json.dumps(document | {"sort": request.sort, "best": best}, allow_nan=False, default=str))
        return
    _show(table, list(request.grid), seconds)


def _show(table: Any, parameters: list[str], seconds: float) -> None:
    from cli.backtest import shown

    names = [*parameters, *SHOWN]
    rows = [names]
    rows += [
        [str(row[name]) if name in parameters else shown(name, row[name]) for name in names]
        for row in table.head(10).iter_rows(named=True)
    ]
    widths = [max(len(row[n]) for row in rows) for n in range(len(names))]
    for row in rows:
        print("  ".join(f"{text:>{width}}" for text, width in zip(row, widths, strict=True)))
    print(f"{table.height:,} combinations in {seconds:.1f} s")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and remaining time on stderr; nothing is drawn where stderr is no terminal."""
    import sys

    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    columns = (BarColumn(), TaskProgressColumn(show_speed=True), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def show(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        yield show
