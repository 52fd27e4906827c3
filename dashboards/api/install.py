"""The REST API beside the pages: routers under /api, health and metrics at the root."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, HTTPException

from dashboards.api import (
    bots,
    controls,
    login,
    market,
    operations,
    portfolio,
    records,
    reference,
    research,
    risk,
    runs,
)
from dashboards.api.errors import install_errors
from dashboards.api.models import Problem
from dashboards.services import Services

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": words}
    for status, words in (
        (400, "The body cannot be read"),
        (404, "Nothing of that name"),
        (409, "The run is over, or was cancelled"),
        (422, "A parameter or field is wrong; `field` names it"),
        (429, "Too much at once: ask again later"),
        (503, "The database or Redis does not answer"),
    )
}
"""What every route may answer instead."""


FILES = ("text/csv", "application/vnd.apache.parquet")
"""What a list is beside JSON, where it has the parameter `format`."""


def install(app: FastAPI, services: Services) -> None:
    """Add every route; called before Dash adds its catch-all."""
    install_errors(app)
    for module in (bots, controls, market, portfolio, records, research, risk, runs):
        app.include_router(module.router(services), prefix="/api", responses=PROBLEMS)

    app.include_router(operations.router(services))
    app.include_router(login.router(services))
    reference.install(app)
    app.openapi = partial(_document, app.openapi)  # type: ignore[method-assign]

    @app.api_route("/api/{path:path}", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
    async def unknown(path: str) -> None:
        raise HTTPException(404, f"there is no /api/{path}; see /api/docs")


def _document(generated: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document, which states the kinds of files too, and that every problem is JSON."""
    document = generated()
    for path in document["paths"].values():
        for operation in path.values():
            names = {parameter["name"] for parameter in operation.get("parameters", [])}
            if "format" in names:
                operation["responses"]["200"]["content"] |= {kind: {"schema": {}} for kind in FILES}
            for status in PROBLEMS:
                problem = operation["responses"].get(str(status), {}).get("content", {})
                if "text/plain" in problem:
                    problem["application/json"] = problem.pop("text/plain")
    return document
