"""`tcp backtest`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli import markets
from cli.execution_options import path_inside
from cli.research_options import Research, with_research_options
from core.errors import BadInput

if TYPE_CHECKING:
    from pipelines.backtest.result import BacktestResult


@with_research_options
def backtest(
    given: Research,
    strategy: str = markets.STRATEGY,
    validate: bool = typer.Option(
        False, help="Say how far it can be believed: intervals, p-values, costs, luck of many trials."
    ),
    trials: int | None = typer.Option(
        None, help="Variants tried before choosing this one; default: as counted in the database."
    ),
    report: Path | None = typer.Option(None, help="Write a report, validated: FILE.html or FILE.json."),
    out: Path | None = typer.Option(None, help="Folder for result.json, trades.parquet, equity.parquet."),
) -> None:
    """One strategy over one history, from the database or from a file."""
    from pipelines.backtest.request import BacktestRequest
    from pipelines.backtest.run import execute
    from strategies.registry import build

    # Everything that can be wrong is found before a file is read or a server started.
    named, parameters = markets.strategy_of(strategy, given.parameters())
    name = build(named, parameters, given.timeframe).name
    chosen = markets.market(given.symbol, given.timeframe, given.candles, given.start, given.end)
    values = {"strategy": name, "parameters": parameters, **given.values()}
    BacktestRequest.read(values | chosen | {"timeframe": given.timeframe or "1m"})
    judging = _judging(validate, trials, report)
    judging["path"] = path_inside(given.intrabar, given.timestamps)
    if given.candles is not None:
        frame, found = markets.read_file(given.candles, given.timestamps, chosen)
        request = BacktestRequest.read(values | chosen)
        result = execute(request, candles=frame, save=False, data=found, **judging)
    else:
        result = execute(BacktestRequest.read(values | chosen), markets.database_url(), **judging)
    _write(result, out, report)
    print(json.dumps(result.to_document(), allow_nan=False) if given.as_json else summary(result))


def _write(result: "BacktestResult", out: Path | None, report: Path | None) -> None:
    if out is not None:
        from pipelines.backtest.export import write_result

        write_result(result, out)
    if report is not None:
        from pipelines.reports.backtest import backtest_report
        from pipelines.reports.write import write_report

        write_report(report, lambda: backtest_report(result), result.to_document())


def _judging(validate: bool, trials: int | None, report: Path | None) -> dict[str, Any]:
    """The arguments of a run about its validation; BadInput for what cannot be."""
    if report is not None:
        from pipelines.reports.write import check_target

        check_target(report)
    if trials is not None and trials < 1:
        raise BadInput("--trials", f"{trials} is not a number of trials: at least 1, this run itself")
    return {"validate": validate or report is not None or trials is not None, "trials": trials}


def summary(result: "BacktestResult") -> str:
    """A result on one screen."""
    from pipelines.reports.wording import between, shown
    from pipelines.validation.caveats import caveats

    document = result.to_document()
    parameters = ", ".join(f"{name} {value}" for name, value in result.parameters.items()) or "no parameters"
    lines = [
        f"{document['strategy']} ({parameters}) on {document['symbol']} {document['timeframe']}",
        f"{document['from']} to {document['to']}, {result.candles:,} candles",
        f"{result.request.cash:,.2f} became {result.final_value:,.2f}",
        "",
    ]
    for name, value in result.metrics.items():
        known = between(name, result.validation or {}, none="")
        lines.append(f"{name:<22} {shown(name, value):>16}   {known}".rstrip())
    mended = {name: value for name, value in document["data"].items() if name != "rows" and value}
    if mended:
        lines += ["", "data: " + ", ".join(f"{name} {value:,}" for name, value in mended.items())]
    said = caveats(document)
    return "\n".join([*lines, *([""] if said else []), *said])
