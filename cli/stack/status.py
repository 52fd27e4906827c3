"""`tcp status`: what runs, where, and whether it answers. Starts nothing."""

import json
from collections.abc import Mapping
from typing import Any

import typer

from cli.stack.addresses import by_service
from cli.stack.connections import connections, connections_text
from cli.stack.home import Home
from cli.stack.plan import Plan, make_plan
from cli.stack.servers import server_check
from cli.stack.services import SERVERS
from cli.stack.started import as_started
from cli.stack.supervisor import ProcessState, Supervisor
from cli.stack.table import columns, duration
from cli.stack.up import APPS, OPTIONAL, app_checks
from config.settings import settings


def status(as_json: bool = typer.Option(False, "--json", help="One JSON document on stdout.")) -> None:
    """What runs, where, and whether it answers."""
    document = stack_status()
    print(json.dumps(document, indent=1) if as_json else status_text(document))


def stack_status() -> dict[str, Any]:
    """The state of every service: `home`, `running`, `logs`, `services[]`, and `exchange`: how good the
    daemon's connections to it are, or null."""
    home = Home(settings().home)
    plan = make_plan(as_started(home, settings()))
    supervisor = Supervisor(home)
    states = {row.name: row for row in supervisor.processes()} if supervisor.answers() else {}
    rows = [_row(plan, name, states.get(name)) for name in (*SERVERS, *APPS, *_optional(states))]
    return {
        "home": str(home.path),
        "logs": str(home.logs),
        "running": any(row["state"] == "running" for row in rows),
        "services": rows,
        "exchange": connections(plan),
    }


def status_text(document: dict[str, Any]) -> str:
    """The same for people."""
    header = ("service", "state", "answers", "pid", "for", "address")
    rows = [
        (
            row["name"],
            row["state"],
            "yes" if row["answers"] else "no",
            str(row["pid"] or ""),
            duration(row["uptime_s"]) if row["pid"] else "",
            row["address"] or "",
        )
        for row in document["services"]
    ]
    parts = [columns([header, *rows])]
    if document["exchange"] is not None:
        parts.append(f"\n{connections_text(document['exchange'])}\n")
    return "\n".join([*parts, f"logs: {document['logs']}"])


def _optional(states: Mapping[str, ProcessState]) -> list[str]:
    """Services that were started because something is configured."""
    return [name for name in OPTIONAL if name in states and states[name].state != "STOPPED"]


def _row(plan: Plan, name: str, process: ProcessState | None) -> dict[str, Any]:
    ours = name not in SERVERS or name in plan.embedded
    running = process is not None and process.state == "RUNNING"
    if not ours:
        state = "unused" if name == "sim" and plan.given.exchange != "sim" else "elsewhere"
    else:
        state = process.state.lower() if process else "stopped"
    answers = (running or state == "elsewhere") and _answers(plan, name)
    return {
        "name": name,
        "state": state,
        "answers": answers,
        "pid": process.pid if process and running else None,
        "uptime_s": process.uptime_s if process else 0,
        "address": by_service(plan).get(name),
        "log": str(plan.home.log(name)) if ours else None,
    }


def _answers(plan: Plan, name: str) -> bool:
    if name in (*APPS, *OPTIONAL):
        return app_checks(plan)[name]()
    return server_check(plan, name)()
