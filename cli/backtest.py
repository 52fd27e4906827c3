"""`tcp backtest` and `tcp compare`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli import markets
from cli.research_options import Research, with_research_options

if TYPE_CHECKING:
    from pipelines.backtest.result import BacktestResult


@with_research_options
def backtest(
    given: Research,
    strategy: str = typer.Option(..., help="Name of a strategy; `tcp strategies list` shows them."),
    out: Path | None = typer.Option(None, help="Folder for result.json, trades.parquet, equity.parquet."),
) -> None:
    """One strategy over one history, from the database or from a file."""
    from pipelines.backtest.request import BacktestRequest
    from pipelines.backtest.run import execute
    from strategies.registry import build

    # Everything that can be wrong is found before a file is read or a server started.
    parameters = given.parameters()
    name = build(strategy, parameters, given.timeframe).name
    chosen = markets.market(given.symbol, given.timeframe, given.candles, given.start, given.end)
    values = {"strategy": name, "parameters": parameters, **given.values()}
    BacktestRequest.read(values | chosen | {"timeframe": given.timeframe or "1m"})
    if given.candles is not None:
        frame, report = markets.read_file(given.candles, given.timestamps, chosen)
        result = execute(BacktestRequest.read(values | chosen), candles=frame, save=False, data=report)
    else:
        result = execute(BacktestRequest.read(values | chosen), markets.database_url())
    if out is not None:
        from pipelines.backtest.export import write_result

        write_result(result, out)
    print(json.dumps(result.to_document(), allow_nan=False) if given.as_json else summary(result))


def compare(
    runs: list[str] = typer.Argument(
        help="Run ids, or folders or result.json files of `tcp backtest --out`."
    ),
    as_json: bool = markets.JSON,
) -> None:
    """Backtest runs side by side."""
    from pipelines.backtest.saved import is_file, read_runs

    ids = [run for run in runs if not is_file(run)]
    documents = read_runs(runs, markets.database_url() if ids else None)
    if as_json:
        print(json.dumps({"runs": documents}, allow_nan=False))
        return
    names = list(dict.fromkeys(name for document in documents for name in document["metrics"]))
    rows = [["", *(f"{d['strategy']} {d['id']}" for d in documents)]]
    rows += [[name, *(shown(name, d["metrics"].get(name)) for d in documents)] for name in names]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        cells = [f"{text:>{width}}" for text, width in zip(row[1:], widths[1:], strict=True)]
        print(f"{row[0]:<{widths[0]}}  {'  '.join(cells)}")


PERCENT = frozenset(
    ("total_return", "cagr", "volatility", "max_drawdown", "win_rate", "exposure", "buy_and_hold_return")
)
COUNTS = frozenset(("trades", "closed_trades"))


def shown(name: str, value: Any) -> str:
    """A metric for people: fractions as percent, money with thousands, a dash where there is none."""
    if value is None:
        return "—"
    if name in PERCENT:
        return (
            f"{value:+,.2%}"
            if name.endswith("return") or name in ("cagr", "max_drawdown")
            else f"{value:.2%}"
        )
    if name in COUNTS:
        return f"{value:,}"
    if name == "max_drawdown_duration":
        return f"{value / 86_400:,.2f} days"
    return f"{value:,.2f}"


def summary(result: "BacktestResult") -> str:
    """A result on one screen."""
    document = result.to_document()
    parameters = ", ".join(f"{name} {value}" for name, value in result.parameters.items()) or "no parameters"
    lines = [
        f"{document['strategy']} ({parameters}) on {document['symbol']} {document['timeframe']}",
        f"{document['from']} to {document['to']}, {result.candles:,} candles",
        f"{result.request.cash:,.2f} became {result.final_value:,.2f}",
        "",
        *(f"{name:<22} {shown(name, value):>16}" for name, value in result.metrics.items()),
    ]
    mended = {name: value for name, value in document["data"].items() if name != "rows" and value}
    if mended:
        lines += ["", "data: " + ", ".join(f"{name} {value:,}" for name, value in mended.items())]
    return "\n".join(lines)
