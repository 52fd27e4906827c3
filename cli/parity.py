"""`tcp parity`: a live bot's history beside a backtest over the same candles."""

import json
from typing import TYPE_CHECKING

import typer

from cli import markets

if TYPE_CHECKING:
    from pipelines.backtest.parity import ParityReport

SHOWN = 20


def parity(
    bot: str = typer.Argument(help="Id of a bot; `tcp bots list` shows them."),
    start: str | None = markets.FROM,
    end: str | None = markets.TO,
    as_json: bool = markets.JSON,
) -> None:
    """Replay a bot's candles through the backtest engine and compare signals, fills and balance; exit code 1
    when they differ."""
    from cli.times import parse_time
    from core.errors import BadInput
    from pipelines.backtest.live_parity import check_bot

    start_ms = parse_time(start, "--from") if start else None
    end_ms = parse_time(end, "--to") if end else None
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise BadInput("--from", f"{start} is not before --to {end}")
    report = check_bot(markets.database_url(), bot, start_ms, end_ms)
    print(json.dumps(report.to_document(), allow_nan=False) if as_json else _shown(report))
    if not report.passed:
        raise typer.Exit(1)


def _shown(report: "ParityReport") -> str:
    said = ", ".join(f"{count:,} {kind}" for kind, count in report.signals.items())
    lines = [
        f"{report.bot}: {report.strategy} on {report.symbol} {report.timeframe}",
        f"{report.start} to {report.end}: {report.candles:,} candles ({said}), {report.fills:,} fills",
        f"balance {report.live_balance:,.8f} live, {report.replay_balance:,.8f} replayed",
    ]
    if report.interruptions or report.held_up:
        lines.append(f"{report.interruptions} interruptions, {report.held_up} orders held up by people")
    if report.remembered:
        lines.append(
            f"{report.remembered} buys vetoed by limits that remember what came before the replay: taken over"
        )
    if report.unjudged:
        lines.append(f"{', '.join(report.unjudged)} is not judged: what the day began with is not known")
    if report.changed is not None:
        lines.append(
            f"its configuration changed after {report.changed}: what was before is compared by --to "
            f"{report.changed}"
        )
    if report.broker != "paper":
        lines.append(f"fills are those of {report.broker}, the replay's are paper: only signals are compared")
    if report.passed:
        return "\n".join([*lines, "no difference"])
    lines.append(f"{len(report.differences):,} differences:")
    for difference in report.differences[:SHOWN]:
        note = f" ({difference.note})" if difference.note else ""
        lines.append(
            f"  {difference.at} {difference.kind} {difference.what}: "
            f"live {difference.live}, replayed {difference.replay}{note}"
        )
    if len(report.differences) > SHOWN:
        lines.append(f"  … and {len(report.differences) - SHOWN:,} more: --json has all of them")
    return "\n".join(lines)
