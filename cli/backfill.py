"""`tcp backfill`: history from the exchange into the database."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import typer

from cli.times import parse_time, show_time
from core.errors import BadInput
from core.timeframes import Timeframe

if TYPE_CHECKING:
    from pipelines.backfill.report import BackfillReport, OnProgress, Progress

app = typer.Typer(no_args_is_help=True)

OPEN_END_MS = 4_102_444_800_000
"""The year 2100: a backfill ends at the exchange's present, which only the exchange knows."""

SYMBOL = typer.Option(..., help="As the exchange writes it, e.g. BTC-USDT.")
FROM = typer.Option(..., "--from", help="Begin, ISO 8601, UTC unless it names an offset.")
TO = typer.Option(None, "--to", help="End, exclusive; default: now.")
JSON = typer.Option(False, "--json", help="Print one JSON document.")


@app.command()
def candles(
    symbol: str = SYMBOL,
    timeframe: str = typer.Option("1m", help="1m, 5m, 15m, 1h, 4h or 1d."),
    start: str = FROM,
    end: str | None = TO,
    as_json: bool = JSON,
) -> None:
    """Fetch the candles between two times that are not stored yet. Interrupt and repeat it as you like."""
    _backfill("candles", symbol, timeframe, start, end, as_json)


@app.command()
def trades(
    symbol: str = SYMBOL,
    timeframe: str | None = typer.Option(None, hidden=True),
    start: str = FROM,
    end: str | None = TO,
    as_json: bool = JSON,
) -> None:
    """Fetch every trade between two times, as far back as the exchange keeps them (three months)."""
    _backfill("trades", symbol, None, start, end, as_json)


def _backfill(
    kind: Literal["candles", "trades"],
    symbol: str,
    timeframe: str | None,
    start: str,
    end: str | None,
    as_json: bool,
) -> None:
    # What can be wrong here is found before a server is started or a slow library imported.
    if timeframe is not None:
        Timeframe.parse(timeframe, "--timeframe")
    start_ms = parse_time(start, "--from")
    end_ms = parse_time(end, "--to") if end is not None else OPEN_END_MS
    if start_ms >= end_ms:
        raise BadInput("--from", f"{start} is not before --to {end}")
    from cli.stack.ensure import ensure
    from pipelines.backfill.run import run_backfill

    settings = ensure(database=True, exchange=True)
    with _progress(f"{symbol} {timeframe or 'trades'}") as on_progress:
        report = run_backfill(settings, kind, symbol, timeframe, start_ms, end_ms, on_progress)
    print(json.dumps(_document(report)) if as_json else _line(report))


@contextmanager
def _progress(title: str) -> Iterator["OnProgress"]:
    """A bar on stderr, for people only: nothing is drawn where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None, rows=0)

        def show(progress: "Progress") -> None:
            bar.update(task, total=progress.total_ms, completed=progress.done_ms, rows=progress.rows)

        yield show


def _document(report: "BackfillReport") -> dict[str, Any]:
    return {
        "kind": report.kind,
        "symbol": report.symbol,
        "timeframe": report.timeframe,
        "from": show_time(report.requested_start_ms),
        "to": show_time(report.end_ms),
        "rows": report.rows,
        "already": report.already,
        "missing": report.missing,
    }


def _line(report: "BackfillReport") -> str:
    what = f"{report.symbol} {report.timeframe or ''} {report.kind}".replace("  ", " ")
    when = f"{show_time(report.requested_start_ms)} to {show_time(report.end_ms)}"
    already = f", {report.already:,} were there" if report.already else ""
    missing = f", {report.missing:,} the exchange does not have" if report.missing else ""
    return f"{what}, {when}: {report.rows:,} fetched{already}{missing}"
