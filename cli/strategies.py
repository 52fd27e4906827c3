"""`tcp strategies`: what there is, and whether it looks ahead."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli import markets

if TYPE_CHECKING:
    import polars as pl

    from strategies.base import Strategy
    from strategies.check import CheckReport

app = typer.Typer(no_args_is_help=True)
NAME = typer.Argument(help="Name of a strategy, such as ema_crossover.")
TRIED_CANDLES = 6_000


@app.command("list")
def list_all(as_json: bool = markets.JSON) -> None:
    """Every strategy in one line."""
    from core.errors import BadInput
    from strategies.describe import describe
    from strategies.registry import catalogue, names

    documents, problems = [], catalogue().problems()
    for name in names():
        try:
            documents.append(describe(name))
        except BadInput as error:
            problems.append(str(error))
    if as_json:
        print(json.dumps({"strategies": documents, "problems": problems}, default=str))
        return
    for document in documents:
        print(f"{document['name']:<22} {document['description']}")
    for problem in problems:
        print(f"tcp: {problem}", file=sys.stderr)


@app.command()
def new(
    name: str = typer.Argument(help="Its name, such as my_idea."),
    kind: str = typer.Option("vector", help="vector: conditions as columns; steps: a candle at a time."),
    as_json: bool = markets.JSON,
) -> None:
    """Write a new strategy that runs at once, for you to change."""
    from strategies.registry import catalogue
    from strategies.scaffold import scaffold

    path = scaffold(name, kind, catalogue())
    if as_json:
        print(json.dumps({"name": path.stem, "path": str(path)}))
        return
    print(f"{path}\n\n  tcp strategies check {path.stem}")
    print(f"  tcp backtest --strategy {path.stem} --symbol BTC-USDT --timeframe 1m")


@app.command()
def schema(name: str = NAME) -> None:
    """The JSON Schema of a strategy's parameters, search space included."""
    from strategies.describe import parameter_schema

    print(json.dumps(parameter_schema(name), indent=2, default=str))


@app.command()
def show(name: str = NAME, as_json: bool = markets.JSON) -> None:
    """Parameters, indicators and warm-up of one strategy."""
    from strategies.describe import describe

    document = describe(name)
    if as_json:
        print(json.dumps(document, default=str))
        return
    print(f"{document['name']}: {document['description']}\n")
    for parameter in document["parameters"]:
        print(f"  {parameter['name']:<18} {_bounds(parameter):<34} {parameter['description']}")
    shown = ", ".join(document["indicators"]) or "none"
    print(f"\n  indicators: {shown}")
    print(f"  first signal after {document['warmup']:,} candles; {document['window']:,} decide a signal")


@app.command()
def check(
    name: str | None = typer.Argument(None, help="Name of a strategy; none: all of them, your own included."),
    param: list[str] = markets.PARAM,
    timeframe: str | None = markets.TIMEFRAME,
    candles: Path | None = typer.Option(None, help="CSV or Parquet file; default: made-up candles."),
    timestamps: str = markets.TIMESTAMPS,
    cuts: int = typer.Option(50, min=1, max=10_000, help="Random points to try on each timeframe."),
    seed: int = typer.Option(7, help="Chooses the points."),
    as_json: bool = markets.JSON,
) -> None:
    """Look for look-ahead and for a warm-up that is too short, on every timeframe unless one is named; exit
    code 1 when there is any."""
    from strategies.registry import catalogue, names

    problems = [] if name else catalogue().problems()
    documents = []
    for one in [name] if name else names():
        reports, left_out, mended = _checked(one, param, timeframe, candles, timestamps, cuts, seed)
        documents.append(_document(reports) | {"left_out": left_out} | ({"data": mended} if mended else {}))
        if not as_json:
            print("\n".join(_verdict(report) for report in reports))
            for other, reason in left_out.items():
                print(f"{reports[0].strategy} {other}: not tried: {reason}")
            told = [f"{what} {count:,}" for what, count in mended.items() if what != "rows" and count]
            if told:
                print("  data: " + ", ".join(told))
    for problem in problems:
        print(f"tcp: {problem}", file=sys.stderr)
    passed = not problems and all(document["passed"] for document in documents)
    if as_json:
        everything = {"passed": passed, "strategies": documents, "problems": problems}
        print(json.dumps(documents[0] if name else everything))
    if not passed:
        raise typer.Exit(1)


def _checked(
    name: str,
    param: list[str],
    timeframe: str | None,
    candles: Path | None,
    timestamps: str,
    cuts: int,
    seed: int,
) -> tuple[list["CheckReport"], dict[str, str], dict[str, int]]:
    """The reports, the timeframes that were left out and why, what was mended in the candles of a file."""
    from strategies.check import check as run_check
    from strategies.check import check_everywhere
    from strategies.registry import build

    name, given = markets.strategy_of(name, markets.parameters(param))
    if timeframe is None and candles is None:
        return *check_everywhere(name, given, cuts, seed), {}
    chosen: dict[str, Any] = {"timeframe": timeframe}
    strategy, mended = build(name, given, timeframe), dict[str, int]()
    if candles is not None:
        frame, report = markets.read_file(candles, timestamps, chosen)
        mended = report.to_document()
        strategy = build(name, given, chosen["timeframe"])  # now that the file has said which
    else:
        frame = _made_up(strategy, chosen["timeframe"])
    return [run_check(strategy, frame, cuts, seed)], {}, mended


def _document(reports: list["CheckReport"]) -> dict[str, Any]:
    """The first timeframe's report, with the findings of all of them, and all reports."""
    passed = all(report.passed for report in reports)
    findings = [asdict(finding) for report in reports for finding in report.findings]
    each = [asdict(report) | {"passed": report.passed} for report in reports]
    return each[0] | {"passed": passed, "findings": findings, "reports": each}


def _made_up(strategy: "Strategy", timeframe: str) -> "pl.DataFrame":
    from strategies.sample import sample_candles

    longest = min(strategy.window, 100_000)
    return sample_candles(max(TRIED_CANDLES, longest + 1_000), timeframe)


def _bounds(parameter: dict[str, Any]) -> str:
    default = parameter.get("default")
    low, high = parameter.get("minimum"), parameter.get("maximum")
    choices = parameter.get("enum")
    between = f"{low} … {high}" if low is not None and high is not None else ""
    return f"{default if default is not None else '—'}  ({between or ', '.join(choices or [])})"


def _verdict(report: "CheckReport") -> str:
    tried = (
        f"{report.strategy} {report.timeframe}: {report.cuts} points of {report.candles:,} candles "
        f"({report.buys} buys, {report.sells} sells), warm-up {report.warmup}, window {report.window}"
    )
    if report.passed:
        settles = ", ".join(f"{name} after {candles or '?'}" for name, candles in report.settles.items())
        warm = (
            f"warm-up long enough at {report.warmed} of them"
            if report.warmed
            else f"warm-up not tried: no point has the {report.window:,} candles of a window before it"
        )
        return f"{tried}\n  no look-ahead; {warm}" + (f"; settled: {settles}" if settles else "")
    found = [f"  {finding.kind} at {finding.at}: {finding.what}" for finding in report.findings[:10]]
    return "\n".join([tried, f"  {len(report.findings)} findings:", *found])
