"""`tcp health`: one answer for whoever restarts things (containers, monitors)."""

import json
from enum import StrEnum
from typing import Annotated

import typer

SILENT_S = 15.0
"""A heartbeat is a second apart; so long a silence is a daemon that hangs, or is gone."""


class Part(StrEnum):
    """What can be asked for."""

    SERVERS = "servers"
    LIVE = "live"
    DASHBOARD = "dashboard"
    DAGSTER = "dagster"


def health(
    part: Annotated[
        Part, typer.Argument(help="servers: PostgreSQL and Redis; or one service.")
    ] = Part.SERVERS,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Whether a part answers: exit 0 when it does, 1 when not. Starts nothing."""
    problem = _problem(part)
    if as_json:
        print(json.dumps({"part": part.value, "ok": problem is None, "problem": problem}))
    else:
        print(f"{part.value}: {problem or 'ok'}")
    if problem is not None:
        raise typer.Exit(1)


def _problem(part: Part) -> str | None:
    """What is wrong with it, or None."""
    from cli.stack.plan import make_plan
    from cli.stack.servers import http_answers
    from config.settings import settings

    resolved = make_plan(settings()).resolved
    if part is Part.SERVERS:
        return _servers(str(resolved.database_url), str(resolved.redis_url))
    if part is Part.LIVE:
        return _heartbeat(str(resolved.database_url))
    url = {
        Part.DASHBOARD: f"http://127.0.0.1:{resolved.dashboard_port}/healthz",
        Part.DAGSTER: f"http://127.0.0.1:{resolved.dagster_port}/server_info",
    }[part]
    return None if http_answers(url, timeout_s=5) else f"{url} does not answer"


def _servers(database_url: str, redis_url: str) -> str | None:
    from core.errors import Unavailable
    from pipelines.bus import ping
    from pipelines.warehouse.server import check_answers

    try:
        check_answers(database_url)
        ping.check_answers(redis_url)
    except Unavailable as error:
        return str(error)
    return None


def _heartbeat(database_url: str) -> str | None:
    from sqlalchemy.exc import SQLAlchemyError

    from pipelines.warehouse.database import engine
    from pipelines.warehouse.inventory import heartbeat_age_s

    try:
        age = heartbeat_age_s(engine(database_url), "live")
    except SQLAlchemyError as error:
        return str(error).split("\n")[0]
    if age is None:
        return "no heartbeat yet"
    return None if age <= SILENT_S else f"last heartbeat {age:.0f} s ago"
