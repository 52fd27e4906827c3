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
    from collections.abc import Sequence
    from datetime import date

    from pipelines.backfill.bulk import BulkReport
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
    source: str = typer.Option(
        "rest", help="rest: by page, into Postgres; bulk: daily files, into the lake."
    ),
    repair: bool = typer.Option(
        False, "--repair", help="With bulk: read the days that are there, fetch damaged ones again."
    ),
    as_json: bool = JSON,
) -> None:
    """Fetch every trade between two times.

    By REST as far back as the exchange keeps them (three months); by its bulk files (years back, until two
    days ago) as whole UTC days in the lake. Interrupt and repeat it as you like.
    """
    if source not in ("rest", "bulk"):
        raise BadInput("--source", f"{source!r} is neither rest nor bulk")
    if repair and source != "bulk":
        raise BadInput("--repair", "is for --source bulk")
    if source == "bulk":
        _bulk(symbol, start, end, repair, as_json)
    else:
        _backfill("trades", symbol, None, start, end, as_json)


def _bulk(symbol: str, start: str, end: str | None, repair: bool, as_json: bool) -> None:
    start_ms, end_ms = _range(start, end)
    from cli.stack.ensure import ensure
    from pipelines.backfill.run import run_bulk_backfill

    settings = ensure(database=True, exchange=True)
    with _progress(f"{symbol} trades") as on_progress:
        report = run_bulk_backfill(settings, symbol, start_ms, end_ms, on_progress, repair)
    print(json.dumps(bulk_document(report)) if as_json else bulk_text(report))
    if not report.is_complete:
        raise typer.Exit(1)


def _range(start: str, end: str | None) -> tuple[int, int]:
    start_ms = parse_time(start, "--from")
    end_ms = parse_time(end, "--to") if end is not None else OPEN_END_MS
    if start_ms >= end_ms:
        raise BadInput("--from", f"{start} is not before --to {end}")
    return start_ms, end_ms


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
    start_ms, end_ms = _range(start, end)
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
        "begin": None if report.begin_ms is None else show_time(report.begin_ms),
    }


def _line(report: "BackfillReport") -> str:
    what = f"{report.symbol} {report.timeframe or ''} {report.kind}".replace("  ", " ")
    when = f"{show_time(report.requested_start_ms)} to {show_time(report.end_ms)}"
    already = f", {report.already:,} were there" if report.already else ""
    missing = f", {report.missing:,} the exchange does not have" if report.missing else ""
    late = "" if report.begin_ms is None else f"; the exchange keeps none before {show_time(report.begin_ms)}"
    return f"{what}, {when}: {report.rows:,} fetched{already}{missing}{late}"


def bulk_document(report: "BulkReport") -> dict[str, Any]:
    """A report for programs."""
    days = ("written", "already", "pending", "missing")
    return {
        "kind": "trades",
        "source": "bulk",
        "symbol": report.symbol,
        "from": show_time(report.requested_start_ms),
        "to": show_time(report.end_ms),
        "rows": report.rows,
        "bytes": report.bytes,
        "missing_ids": report.missing_ids,
        **{name: [str(day) for day in getattr(report, name)] for name in days},
        "damaged": report.damaged,
    }


def bulk_text(report: "BulkReport") -> str:
    """A report for people."""
    days = f"days written {len(report.written):,}, there before {len(report.already):,}"
    lines = [f"{report.symbol} trades of bulk files: {days}; {report.rows:,} trades, {report.bytes:,} bytes"]
    if report.missing_ids:
        lines.append(f"{report.missing_ids:,} trade ids are in no file")
    if report.pending:
        lines.append(f"not yet at the exchange: {_days(report.pending)} (files come two days later)")
    if report.missing:
        lines.append(f"missing at the exchange: {_days(report.missing)}")
    return "\n".join([*lines, *(f"damaged: {name}" for name in report.damaged)])


def _days(days: "Sequence[date]") -> str:
    """First and last of consecutive days, single ones else."""
    runs: list[list[date]] = []
    for day in days:
        if runs and (day - runs[-1][-1]).days == 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
