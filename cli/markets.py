"""Where the candles of `tcp backtest`, `tcp sweep` and `tcp strategies` come from, and options of several
commands."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from core.errors import BadInput

if TYPE_CHECKING:
    import polars as pl

    from pipelines.backtest.checks import DataReport

TIMEFRAME = typer.Option(None, help="1m, 5m, 15m, 1h, 4h or 1d.")
FROM = typer.Option(None, "--from", help="Begin, ISO 8601, UTC unless it names an offset.")
TO = typer.Option(None, "--to", help="End, as --from.")
PARAM = typer.Option([], "--param", help="NAME=VALUE, repeatable; the rest by default.")
CANDLES = typer.Option(None, "--candles", help="CSV or Parquet file; then no database is needed.")
TIMESTAMPS = typer.Option("close", help="What the file's times are: those of the close, or of the open.")
STRATEGY = typer.Option(
    ...,
    help="Name of a strategy (`tcp strategies list` shows them), or a parameter file such as "
    "config/strategies/ema_crossover.json.",
)
JSON = typer.Option(False, "--json", help="Print one JSON document.")


def parameters(given: list[str]) -> dict[str, Any]:
    """--param NAME=VALUE … by name."""
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise BadInput("--param", f"{text!r} is not NAME=VALUE")
        if name.strip() in values:
            raise BadInput("--param", f"{name.strip()} is given twice")
        values[name.strip()] = value.strip()
    return values


def strategy_of(text: str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a strategy that is named, or that a parameter file names; what was `given` goes
    over the file's."""
    if not text.endswith((".json", ".yaml", ".yml")):
        return text, given
    from config.files import StrategyFile, plain, read_model

    file = read_model(StrategyFile, Path(text))
    return file.strategy_name, plain(file.parameters) | given


def market(
    symbol: str | None, timeframe: str | None, candles: Path | None, start: str | None, end: str | None
) -> dict[str, Any]:
    """The market part of a request; a file of candles may leave symbol and timeframe unsaid."""
    from cli.times import parse_time
    from pipelines.warehouse.sql import to_datetime

    if symbol is None and candles is None:
        raise BadInput("--symbol", "is needed, e.g. BTC-USDT, unless --candles names a file")
    if timeframe is None and candles is None:
        raise BadInput("--timeframe", "is needed, e.g. 1m, unless --candles names a file")
    begin_ms = parse_time(start, "--from") if start else None
    end_ms = parse_time(end, "--to") if end else None
    if begin_ms is not None and end_ms is not None and begin_ms >= end_ms:
        raise BadInput("--from", f"{start} is not before --to {end}")
    return {
        "symbol": symbol or str(candles and candles.name.split(".")[0]),
        "timeframe": timeframe,
        "start": None if begin_ms is None else to_datetime(begin_ms),
        "end": None if end_ms is None else to_datetime(end_ms),
    }


def read_file(candles: Path, timestamps: str, chosen: dict[str, Any]) -> tuple["pl.DataFrame", "DataReport"]:
    """The file's candles, and what was mended; fills in the timeframe if it was not said."""
    from pipelines.backtest.files import read_candle_file

    if timestamps not in ("open", "close"):
        raise BadInput("--timestamps", f"{timestamps!r} is neither open nor close")
    frame, report = read_candle_file(candles, timestamps, chosen["timeframe"])  # type: ignore[arg-type]
    if chosen["timeframe"] is None:
        from pipelines.backtest.files import timeframe_of

        chosen["timeframe"] = timeframe_of(frame["timestamp"], candles).value
    return frame, report


def database_url() -> str:
    """The database in force; the embedded one is started if need be."""
    from cli.stack.ensure import ensure

    return str(ensure(database=True).database_url)
