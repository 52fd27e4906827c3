"""`tcp compare`."""

import json
from pathlib import Path
from typing import Any

import typer

from cli import markets

BENCHMARK = "What the others are compared with: first, buy_and_hold, or the id of one of them."


def compare(
    runs: list[str] = typer.Argument(
        help="Run ids, or folders or result.json files of `tcp backtest --out`."
    ),
    benchmark: str = typer.Option("first", help=BENCHMARK),
    report: Path | None = typer.Option(None, help="Write a report: FILE.html or FILE.json."),
    as_json: bool = markets.JSON,
) -> None:
    """Backtest runs side by side: every metric, and whether one is better or was luckier.

    Differences of returns against the benchmark with intervals and p-values (stationary bootstrap, paired,
    corrected for their number) and a test of the best of all (superior predictive ability).
    """
    from pipelines.backtest.saved import is_file, read_equity, read_runs
    from pipelines.validation.compare import Record
    from pipelines.validation.compare import compare as compared

    if report is not None:
        from pipelines.reports.write import check_target

        check_target(report)
    url = markets.database_url() if any(not is_file(run) for run in runs) else None
    documents = read_runs(runs, url)
    records = [Record(d, read_equity(run, url)) for run, d in zip(runs, documents, strict=True)]
    comparison = compared(records, benchmark)
    document = {"runs": documents, "comparison": comparison}
    if report is not None:
        from pipelines.reports.comparison import comparison_report
        from pipelines.reports.write import write_report

        write_report(report, lambda: comparison_report(records, comparison), document)
    print(json.dumps(document, allow_nan=False) if as_json else table(documents, comparison))


def table(documents: list[dict[str, Any]], comparison: dict[str, Any]) -> str:
    """Both on one screen."""
    from cli.stack.table import figures
    from pipelines.reports.comparison import findings
    from pipelines.reports.wording import shown

    names = list(dict.fromkeys(name for document in documents for name in document["metrics"]))
    rows = [["", *(f"{d['strategy']} {d['id']}" for d in documents)]]
    rows += [[name, *(shown(name, d["metrics"].get(name)) for d in documents)] for name in names]
    return "\n".join([figures(rows), "", *findings(documents, comparison)])
