"""The REST API beside the pages: routers under /api, health and metrics at the root."""

from fastapi import FastAPI, HTTPException

from dashboards.api import bots, controls, login, market, operations, portfolio, reference, risk, runs
from dashboards.api.errors import install_errors
from dashboards.services import Services


def install(app: FastAPI, services: Services) -> None:
    """Add every route; called before Dash adds its catch-all."""
    install_errors(app)
    for module in (bots, controls, market, portfolio, risk, runs):
        app.include_router(module.router(services), prefix="/api")

    app.include_router(operations.router(services))
    app.include_router(login.router(services))
    reference.install(app)

    @app.api_route("/api/{path:path}", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
    async def unknown(path: str) -> None:
        raise HTTPException(404, f"there is no /api/{path}; see /api/docs")
