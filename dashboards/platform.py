"""The platform as its page shows it: does it keep up, did anything break, what does Dagster do. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from dashboards.components import Card, downloads, empty, moment
from dashboards.dagster_runs import DagsterRun
from dashboards.formatting import DASH, size

SLOW_COMMIT_MS = 1_000
TONES = {"SUCCESS": "good", "FAILURE": "bad", "CANCELED": "bad", "CANCELING": "bad"}
WORDS = {"SUCCESS": "Done", "FAILURE": "Failed", "STARTED": "Running", "NOT_STARTED": "Waiting"}


def cards(
    daemon: Mapping[str, Any],
    bots: Sequence[Mapping[str, Any]],
    alerts: Mapping[str, int],
    database: Mapping[str, int],
) -> list[Card]:
    """Does it keep up, and did anything break? daemon: its heartbeat's document, empty before the first;
    bots: rows of the hub; alerts: queries.system.alerts of a day; database: queries.system.database_load."""
    restarts = sum(bot["restarts"] for bot in bots)
    broken = sum(bot["shown"] in {"error", "crashed"} for bot in bots)
    running = sum(bot["shown"] == "running" for bot in bots)
    errors, warnings = alerts.get("error", 0), alerts.get("warning", 0)
    full = database["connections"] > 0.8 * database["most"]
    return [
        *_queues(daemon),
        (
            "Bots running",
            f"{running} of {len(bots)}",
            "down" if broken else "",
            f"{broken} broke down and wait for a person" if broken else "None broke down",
        ),
        ("Restarts", f"{restarts:,}", _warn(restarts), "Of bots, since each was started"),
        ("Errors, 24 h", f"{errors:,}", "down" if errors else "", "Listed below"),
        ("Warnings, 24 h", f"{warnings:,}", _warn(warnings), "Listed below"),
        (
            "Database",
            size(database["bytes"]),
            _warn(full),
            f"{database['connections']} of {database['most']} connections are open",
        ),
    ]


def _queues(daemon: Mapping[str, Any]) -> list[Card]:
    spool = daemon.get("spool") or {}
    on_disk = spool.get("trades") or 0
    trades, messages = daemon.get("pending_trades"), daemon.get("bus_waiting")
    took = daemon.get("last_commit_ms")
    return [
        (
            "Trades waiting",
            DASH if trades is None else f"{trades + on_disk:,}",
            _warn(on_disk),
            f"For PostgreSQL; {on_disk:,} of them on disk",
        ),
        (
            "Last commit",
            DASH if took is None else f"{took:,.0f} ms",
            _warn((took or 0) > SLOW_COMMIT_MS),
            "How long the daemon's last batch took to be written",
        ),
        (
            "Messages waiting",
            DASH if messages is None else f"{messages:,}",
            _warn(messages),
            "Final candles for Redis",
        ),
    ]


def _warn(wrong: object) -> str:
    return "warn-text" if wrong else ""


def runs_list(runs: Sequence[DagsterRun] | None, address: str) -> Any:
    """Dagster's newest runs, each a link to it; how to get there where it is away."""
    if runs is None:
        text = "It runs backfills, the archive, models and nightly work: `tcp up` starts it."
        return empty("Dagster is not up", text)
    if not runs:
        start = html.A("Open Dagster", href=address, target="_blank", rel="noopener", className="button")
        return empty("Nothing was run yet", "Schedules begin by themselves.", start)
    lines = []
    for run in runs:
        word = WORDS.get(run.status, run.status.replace("_", " ").capitalize())
        state = html.Span(
            [html.Span(className="dot"), word],
            className="state",
            **{"data-tone": TONES.get(run.status, "warn")},
        )
        name = html.A(run.name, href=run.address, target="_blank", rel="noopener", title=run.name)
        lines.append(
            html.Li([state, name, moment(round((run.began or run.asked) * 1000)), html.Span(_took(run))])
        )
    files = html.Div(downloads("/api/dagster/runs"), className="actions end padded first")
    return html.Div([html.Ul(lines, className="dagster-runs"), files])


def _took(run: DagsterRun) -> str:
    if run.began is None or run.ended is None:
        return ""
    seconds = run.ended - run.began
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
