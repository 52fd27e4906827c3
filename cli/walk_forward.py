"""`tcp sweep --walk-forward`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import BadInput

if TYPE_CHECKING:
    from pipelines.sweep.run import Sweep
    from pipelines.walk_forward.result import WalkForwardResult
    from pipelines.walk_forward.windows import WalkForward


def checked(
    given: str | None, report: Path | None, resume: str | None, scheduler: str | None
) -> "WalkForward":
    """The option, read; BadInput for what does not go with it."""
    from pipelines.reports.write import check_target
    from pipelines.walk_forward.windows import OPTION, parse

    if given is None:
        raise BadInput("--report", f"is made of a walk-forward: give {OPTION}, or use tcp backtest --report")
    for option, value in (("--resume", resume), ("--scheduler", scheduler)):
        if value is not None:
            raise BadInput(option, f"does not go with {OPTION}, whose windows are trained here, one by one")
    if report is not None:
        check_target(report)
    return parse(given)


def run_walk_forward(job: "Sweep", walk: "WalkForward", report: Path | None, as_json: bool) -> str:
    """Walk it, write what was asked for, and say it in text or JSON."""
    from pipelines.walk_forward.run import execute_walk_forward

    candles = job.candles(job.request) if callable(job.candles) else job.candles
    path = job.path(job.request) if callable(job.path) else job.path
    result = execute_walk_forward(
        job.request,
        walk,
        job.database_url,
        candles,
        data=job.data.get(job.request.named),
        on_progress=job.on_progress,
        path=path,
    )
    if job.out is not None:
        from pipelines.reports.write import write_whole

        write_whole(job.out, result.table().write_parquet, "--out")
    if report is not None:
        from pipelines.reports.walk_forward import walk_forward_report
        from pipelines.reports.write import write_report

        write_report(report, lambda: walk_forward_report(result), result.to_document())
    return json.dumps(result.to_document(), allow_nan=False) if as_json else summary(result)


def summary(result: "WalkForwardResult") -> str:
    """The windows, the record of all tests, and what to make of it."""
    from cli.backtest import summary as of_record
    from cli.stack.table import figures
    from pipelines.reports.walk_forward import verdict
    from pipelines.reports.wording import shown

    names = list(result.stability)
    sort = result.sort
    earned = [] if sort == "total_return" else ["total_return"]
    header = ["test", *names, f"{sort} trained", f"{sort} tested", *(f"{name} tested" for name in earned)]
    rows = [[*header, "better than"]]
    rows += [
        [
            f"{w.window.test.start:%Y-%m-%d %H:%M}",
            *(str(w.parameters[name]) for name in names),
            shown(sort, w.score),
            shown(sort, w.test[sort]),
            *(shown(name, w.test[name]) for name in earned),
            "—" if w.test_rank is None else f"{w.test_rank:.0%}",
        ]
        for w in result.windows
    ]
    parts: list[Any] = [figures(rows), *verdict(result), "", of_record(result.record)]
    return "\n".join(parts)
