"""`tcp data`: what is stored, candle files in, raw trades out to the lake."""

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.times import parse_day, parse_offset, show_time
from core.errors import BadInput
from core.timeframes import Timeframe

if TYPE_CHECKING:
    from pipelines.lake.archive import ArchivedFile
    from pipelines.retention import Pruned

app = typer.Typer(no_args_is_help=True)

JSON = typer.Option(False, "--json", help="Print one JSON document.")
_AGAIN = "`tcp backfill trades --source bulk --repair`, or `tcp backfill trades` and `tcp data archive`"
REMEDIES = {
    "missing": f"fetch the day again: {_AGAIN}",
    "damaged": f"the file is kept when the day is fetched again: {_AGAIN}",
    "gap": "`tcp backfill trades` and `tcp data archive` with those days",
}
"""What to do about findings, by kind."""


@app.command("import")
def import_file(
    file: Path = typer.Argument(help="CSV, Parquet, JSON (Coinbase) or zip (LEAN) of candles."),
    exchange: str = typer.Option("okx", help="Where the candles are from."),
    symbol: str = typer.Option(..., help="E.g. BTC-USDT."),
    timeframe: str = typer.Option(..., help="1m, 5m, 15m, 1h, 4h or 1d."),
    timestamps: str = typer.Option("close", help="What the file's timestamps are: open or close."),
    offset: str = typer.Option("+00:00", help="Of its times, where they name none: +08:00 is ahead of UTC."),
    aggregate: bool = typer.Option(False, "--aggregate", help="It has shorter candles: make longer ones."),
    replace: bool = typer.Option(False, "--replace", help="Put its numbers over those that are stored."),
    as_json: bool = JSON,
) -> None:
    """Store the candles of FILE; a repeat changes nothing, other numbers than the stored ones are refused.

    Columns timestamp (or open_time, close_time …), open, high, low, close, volume; times ISO 8601 or epoch
    ms; .csv, .csv.gz, .parquet. JSON as Coinbase answers, zips as LEAN keeps them.
    """
    Timeframe.parse(timeframe, "--timeframe")
    if timestamps not in ("open", "close"):
        raise BadInput("--timestamps", f"{timestamps!r} is neither open nor close")
    offset_ms = parse_offset(offset, "--offset")
    if not file.is_file():
        raise BadInput(str(file), "no such file")
    from cli.stack.ensure import ensure
    from pipelines.backfill.imports import check_names, import_candles
    from pipelines.clock import SystemClock

    check_names(exchange, symbol)
    settings = ensure(database=True)
    report = import_candles(
        str(settings.database_url),
        file,
        exchange,
        symbol,
        timeframe,
        "open" if timestamps == "open" else "close",
        offset_ms,
        aggregate,
        replace,
        now_ms=SystemClock().now_ms(),
    )
    first, last = show_time(report.first_ms), show_time(report.last_ms)
    counts = {"new": report.new, "replaced": report.replaced}
    if as_json:
        document = {"exchange": exchange, "symbol": symbol, "timeframe": timeframe, "rows": report.rows}
        print(json.dumps({**document, **counts, "first": first, "last": last}))
    else:
        counted = f"{report.rows:,} candles, {report.new:,} new, {report.replaced:,} replaced"
        print(f"{exchange} {symbol} {timeframe}, {first} to {last}: {counted}")


@app.command()
def status(as_json: bool = JSON) -> None:
    """What is stored and how whole it is: candles, raw trades, holes, comparisons with the exchange's
    candles, the connections of the last hour, files of the lake."""
    from cli.data_status import status_document, status_text
    from cli.stack.ensure import ensure
    from pipelines.lake.status import data_status

    settings = ensure(database=True)
    found = data_status(str(settings.database_url))
    if as_json:
        print(json.dumps(status_document(found)))
    else:
        print(status_text(found))


@app.command()
def verify(
    symbol: str | None = typer.Option(None, help="Default: all."),
    date: str | None = typer.Option(None, help="UTC day, e.g. 2026-11-20. Default: all."),
    as_json: bool = JSON,
) -> None:
    """Read every file of the lake again: is it what the manifest says, is every trade id there once, and do
    the trades make the stored candles? Exit 1 if anything is wrong."""
    day = parse_day(date, "--date") if date is not None else None
    from cli.stack.ensure import ensure
    from pipelines.lake.verify import verify_lake

    settings = ensure(database=True)
    found = verify_lake(str(settings.database_url), settings.lake_url, symbol, day)
    if not found.files and (symbol is not None or date is not None):
        asked = " of ".join(part for part in (symbol, date) if part is not None)
        raise BadInput("--symbol" if symbol else "--date", f"the lake has no file of {asked}")
    if as_json:
        findings = [{"kind": f.kind, "path": f.path, "detail": f.detail} for f in found.findings]
        counts = {"files": found.files, "rows": found.rows, "candles": found.candles}
        print(json.dumps({**counts, "sound": found.sound, "findings": findings}))
    else:
        for finding in found.findings:
            print(f"{finding.kind}: {finding.path}: {finding.detail}")
        for kind in dict.fromkeys(finding.kind for finding in found.findings if finding.kind in REMEDIES):
            print(f"{kind}? {REMEDIES[kind]}")
        counted = f"{found.files:,} files, {found.rows:,} rows, {found.candles:,} stored minutes compared"
        print(f"{counted}: {'sound' if found.sound else 'NOT SOUND'}")
    if not found.sound:
        raise typer.Exit(1)


@app.command()
def query(
    sql: str = typer.Argument(help="A SELECT over raw_trades, candles and lake_files."),
    out: Path | None = typer.Option(None, help="Write all rows to this .parquet or .csv file instead."),
    as_json: bool = JSON,
) -> None:
    """Ask the lake with SQL (DuckDB): views over its files, wherever they are, times in UTC.

    tcp data query "SELECT symbol, date, count(*), sum(size) FROM raw_trades GROUP BY ALL ORDER BY ALL"
    """
    if out is not None and out.suffix not in (".parquet", ".csv"):
        raise BadInput("--out", f"{out} is neither .parquet nor .csv")
    if out is not None and not out.parent.is_dir():
        raise BadInput("--out", f"{out}: no such folder")
    from cli.stack.ensure import ensure
    from cli.tables import frame_document, frame_text
    from pipelines.lake.query import query_lake, write_rows

    settings = ensure(database=True)
    found = query_lake(str(settings.database_url), settings.lake_url, sql)
    if out is not None:
        write_rows(found, out)
        print(json.dumps({"rows": found.height, "path": str(out)}) if as_json else f"{found.height:,} rows")
    else:
        print(json.dumps(frame_document(found)) if as_json else frame_text(found))


@app.command()
def archive(
    symbol: str | None = typer.Option(None, help="Default: every symbol with trades."),
    date: str | None = typer.Option(None, help="UTC day, e.g. 2026-11-20. Default: every day that is over."),
    drop: bool = typer.Option(False, "--drop", help="Remove the rows from Postgres once the file is proven."),
    as_json: bool = JSON,
) -> None:
    """Write raw trades of whole days to the lake as Parquet; a repeat changes nothing."""
    day = parse_day(date, "--date") if date is not None else None
    from cli.stack.ensure import ensure
    from pipelines.clock import SystemClock
    from pipelines.lake.archive import archive_days, check_over, is_over
    from pipelines.warehouse.database import engine
    from pipelines.warehouse.health import exchange_ms

    settings = ensure(database=True)
    database_url = str(settings.database_url)
    now_ms = exchange_ms(engine(database_url), SystemClock().now_ms())
    if day is not None and not is_over(day - timedelta(days=1), now_ms):
        raise BadInput("--date", f"{day} has not begun at the exchange")
    if day is not None and drop:
        check_over([day], now_ms)
    documents = []
    for name, at, file in archive_days(
        database_url, settings.lake_url, symbol, day, drop, exchange_ms=now_ms
    ):
        over = is_over(at, now_ms)
        documents.append({**_archive_document(name, str(at), file), "over": over})
        if not as_json:
            unfinished = "" if over else "; the day is not over: repeat it then"
            print(_archive_line(name, str(at), file) + unfinished)
    if as_json:
        print(json.dumps({"files": documents}))
    elif not documents:
        print("nothing to archive: no day is over yet")


@app.command("export")
def export_month(
    symbol: str = typer.Option(..., help="E.g. BTC-USDT."),
    timeframe: str = typer.Option("1m", help="1m, 5m, 15m, 1h, 4h or 1d."),
    month: str = typer.Option(..., help="UTC month, e.g. 2026-11."),
    as_json: bool = JSON,
) -> None:
    """Write a month of candles to the lake as Parquet; a repeat changes nothing."""
    length, first = Timeframe.parse(timeframe, "--timeframe"), parse_day(f"{month}-01", "--month")
    from cli.stack.ensure import ensure
    from pipelines.lake.candles import export_candles

    settings = ensure(database=True)
    file = export_candles(str(settings.database_url), settings.lake_url, symbol, length, first)
    if as_json:
        document = {"path": file.path, "rows": file.rows, "bytes": file.bytes, "sha256": file.sha256}
        print(json.dumps({**document, "written": file.written}))
    elif file.path is None:
        print(f"{symbol} {timeframe} {month}: no candles")
    else:
        print(f"{symbol} {timeframe} {month}: {file.rows:,} candles, {file.bytes:,} bytes: {file.path}")


@app.command()
def compact(as_json: bool = JSON) -> None:
    """Merge a day's several files into one; of files over an hour old, delete the unfinished and move those
    the manifest does not know to the lake's quarantine."""
    from cli.stack.ensure import ensure
    from pipelines.clock import SystemClock
    from pipelines.lake.compact import compact_lake

    settings = ensure(database=True)
    done = compact_lake(str(settings.database_url), settings.lake_url, SystemClock().now_ms())
    if as_json:
        merged = [{"symbol": symbol, "date": str(day)} for symbol, day in done.merged]
        print(json.dumps({"merged": merged, "removed": done.removed, "set_aside": done.set_aside}))
    else:
        print(
            f"{len(done.merged):,} days merged, {len(done.removed):,} unfinished files removed, "
            f"{len(done.set_aside):,} unknown files set aside"
        )


@app.command()
def adopt(as_json: bool = JSON) -> None:
    """Take in days of trades that the manifest does not know: files put into the lake by hand, or all such
    days where the database was lost. Each is proven first. Exit 1 if any is refused."""
    from cli.stack.ensure import ensure
    from pipelines.clock import SystemClock
    from pipelines.lake.adopt import adopt_files

    settings = ensure(database=True)
    done = adopt_files(str(settings.database_url), settings.lake_url, SystemClock().now_ms())
    if as_json:
        adopted = [{"path": path, "kept": kept} for path, kept in done.adopted]
        refused = [{"path": path, "reason": reason} for path, reason in done.refused]
        print(json.dumps({"adopted": adopted, "refused": refused}))
    else:
        for path, reason in done.refused:
            print(f"refused: {path}: {reason}")
        print(f"{len(done.adopted):,} files taken in, {len(done.refused):,} refused")
    if done.refused:
        raise typer.Exit(1)


@app.command()
def prune(
    dry_run: bool = typer.Option(False, "--dry-run", help="Count only; remove nothing."), as_json: bool = JSON
) -> None:
    """Remove what is older than TCP_RAW_TRADES_DAYS, TCP_BOT_DETAIL_DAYS and TCP_EVENTS_DAYS say: raw trades
    only when the lake has them, holds, snapshots between the hours, events. Unset keeps everything."""
    from cli.stack.ensure import ensure
    from pipelines.clock import SystemClock
    from pipelines.retention import prune as prune_all

    done = prune_all(ensure(database=True), SystemClock().now_ms(), dry_run)
    if as_json:
        print(json.dumps({"dry_run": dry_run, **_pruned_document(done)}))
    else:
        _print_pruned(done, "would go" if dry_run else "removed")


def _pruned_document(done: "Pruned") -> dict[str, Any]:
    days = [
        {"symbol": d.symbol, "date": str(d.day), "dropped": d.dropped, "kept_because": d.kept_because}
        for d in done.trades or []
    ]
    return {
        "raw_trades": None if done.trades is None else days,
        "signals": done.signals,
        "snapshots": done.snapshots,
        "events": done.events,
    }


def _print_pruned(done: "Pruned", verb: str) -> None:
    for day in done.trades or []:
        what = f"{day.dropped:,} rows {verb}" if day.kept_because is None else f"kept: {day.kept_because}"
        print(f"raw trades  {day.symbol:<12} {day.day}  {what}")
    counts = {"signals": done.signals, "snapshots": done.snapshots, "events": done.events}
    for name, count in counts.items():
        if count is not None:
            print(f"{name:<11} {count:,} rows {verb}")
    if done.trades is None and all(count is None for count in counts.values()):
        print("everything is kept: set TCP_RAW_TRADES_DAYS, TCP_BOT_DETAIL_DAYS or TCP_EVENTS_DAYS")
    elif done.trades == []:
        print("raw trades  no day is past its time")


def _archive_document(symbol: str, day: str, file: "ArchivedFile") -> dict[str, Any]:
    return {
        "symbol": symbol,
        "date": day,
        "path": file.path,
        "rows": file.rows,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "written": file.written,
        "dropped": file.dropped,
    }


def _archive_line(symbol: str, day: str, file: "ArchivedFile") -> str:
    if file.path is None:
        return f"{symbol} {day}: no trades"
    done = "written" if file.written else "was there already"
    dropped = f", {file.dropped:,} rows removed from Postgres" if file.dropped else ""
    return f"{symbol} {day}: {file.rows:,} trades, {file.bytes:,} bytes, {done}{dropped}: {file.path}"
